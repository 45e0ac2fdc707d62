"""How large the values get that a model calculates: in half precision what exceeds 65,504 is infinite.

On a CPU ONNX Runtime widens half precision to 32 bits for most nodes: running the variant there does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.batches import batches_by_length
from compress.data.encode import pad
from compress.runtimes.generation import OnnxDecoder, generate_tokens
from compress.runtimes.onnx import onnx_session
from export.onnx.layers import weights_of
from export.variants.sample import Sample

HALF_LIMIT = float(np.finfo(np.float16).max)
_BATCH_SIZE = 32
_MARGIN = 2  # how much larger values may get on other rows
# What a mask goes through on its way to the softmax, where minus infinity is what is meant.
_HANDS_ON_MASKS = ("Add", "Cast", "Concat", "Expand", "Reshape", "Slice", "Sum", "Transpose", "Unsqueeze", "Where")


@dataclass(frozen=True)
class HalfPrecision:
    """What half precision can hold of what a model calculates on real rows.

    ``largest`` is the largest value of the nodes that may calculate in it; ``too_large`` has, by what people call the
    others, the largest value of each; ``exact`` are the names of these and of the nodes that read what they give: they
    must calculate in 32 bits.
    """

    rows: int
    largest: float
    too_large: Mapping[str, float]
    exact: frozenset[str]

    @property
    def problem(self) -> str | None:
        """The first value that is too large for half precision, in words."""
        if not self.too_large:
            return None
        node, value = next(iter(self.too_large.items()))
        return f"on {self.rows} rows {node} gives {value:.3g}, where half precision ends at {HALF_LIMIT:,.0f}"


def half_precision_of(parent: Path, sample: Sample) -> HalfPrecision:
    """Find what half precision cannot hold on any rows like these, by what a model calculates in 32 bits.

    :param parent: Folder with plain graphs.
    """
    largest, nodes = _largest_values(parent, sample)
    too_large = {name: value for name, value in largest.items() if value > HALF_LIMIT / _MARGIN}
    exact = frozenset(too_large).union(*(nodes[name].readers for name in too_large))
    titles = {nodes[name].title: value for name, value in too_large.items()}
    fitting = (value for name, value in largest.items() if name not in too_large)
    return HalfPrecision(len(sample.rows), max(fitting, default=0.0), titles, exact)


@dataclass(frozen=True)
class _Node:
    """What people call a node, and the names of those that read what it gives."""

    title: str
    readers: frozenset[str]


def _largest_values(folder: Path, sample: Sample) -> tuple[Mapping[str, float], Mapping[str, _Node]]:
    """By a node's name, in whichever graph, the largest value without its sign, of masks with it; and the nodes."""
    largest: dict[str, float] = {}
    nodes: dict[str, _Node] = {}
    batches = [
        pad([sample.examples[index] for index in indices], sample.tokenizer.pad_token_id)
        for indices in batches_by_length(sample.examples, _BATCH_SIZE)
    ]

    def watched(path: Path, threads: int | None = None) -> _Watched:
        return _Watched(path, largest, nodes, threads)

    if sample.task.GENERATES:
        decoder = OnnxDecoder(folder, opened=watched)
        for batch in batches:
            generate_tokens(decoder, batch, sample.search, sample.search.max_tokens)
    else:
        for session in [watched(folder / graph) for graph in sample.task.GRAPHS]:
            for batch in batches:
                session.run(None, {name: batch[name] for name in session.inputs if name in batch})
    return largest, nodes


class _Watched:
    """A session of ONNX Runtime that notes how large the values of each node get."""

    def __init__(self, path: Path, largest: dict[str, float], nodes: dict[str, _Node], threads: int | None):
        import onnx_ir

        model = onnx_ir.load(path)
        self._nodes = _add_probes(model, nodes)
        probe = onnx_ir.to_proto(model).SerializeToString()
        self._session, self._largest = onnx_session(probe, threads, weights=path.parent, in_order=True), largest
        self.inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [value for value in self._session.get_outputs() if value.name not in self._nodes]
        self.get_outputs: Callable[[], Any] = lambda: self._outputs

    def run(self, outputs: list[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As the session itself."""
        wanted = outputs or [value.name for value in self._outputs]
        found: list[np.ndarray] = self._session.run([*wanted, *self._nodes], inputs)
        for node, value in zip(self._nodes.values(), found[len(wanted) :], strict=True):
            size = float(value) if not np.isnan(value) else np.inf
            self._largest[node] = max(self._largest.get(node, 0.0), size)
        return found[: len(wanted)]


def _add_probes(model: Any, nodes: dict[str, _Node]) -> dict[str, str]:
    """Let a graph give the largest value of each of its nodes too; by the name of that output, the node's.

    :param nodes: By name, what is known of them; those of other graphs are there already.
    """
    import onnx_ir
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass()(model)
    _clip_constants(model)
    nothing = onnx_ir.Value(name="largest:nothing", const_value=onnx_ir.tensor(np.float32(0), name="largest:nothing"))
    model.graph.register_initializer(nothing)
    watched: list[tuple[Any, list[Any]]] = []
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype != onnx_ir.DataType.FLOAT or node.op_type == "Constant":
                continue
            is_mask = _is_mask(value)  # before the probe is another user of it
            readers = {str(use.node.name) for use in value.uses()}
            known = nodes.get(node.name, _Node(_title(node), frozenset()))
            nodes[node.name] = replace(known, readers=known.readers | readers)
            # What is infinite in 32 bits is meant to be, as the logarithm of a distance of nothing.
            infinite = onnx_ir.node("IsInf", [value])
            finite = onnx_ir.node("Where", [infinite.outputs[0], nothing, value])
            added = [infinite, finite]
            if not is_mask:
                added.append(onnx_ir.node("Abs", [finite.outputs[0]]))
            added.append(onnx_ir.node("ReduceMax", [added[-1].outputs[0]], {"keepdims": 0}))
            watched.append((node, added))
    probes: dict[str, str] = {}
    for node, added in watched:
        model.graph.insert_after(node, added)
        probe = added[-1].outputs[0]
        probe.name, probe.type = f"largest:{len(probes)}", onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        model.graph.outputs.append(probe)
        probes[probe.name] = str(node.name)
    return probes


def _clip_constants(model: Any) -> None:
    """As the conversion to half precision does: masks hold the smallest number of 32 bits."""
    import onnx_ir

    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or tensor.dtype != onnx_ir.DataType.FLOAT:
            continue
        if _exceeds_half(tensor):
            value.const_value = onnx_ir.tensor(tensor.numpy().clip(-HALF_LIMIT, HALF_LIMIT), name=value.name)
        elif isinstance(tensor, onnx_ir.ExternalTensor):
            tensor.release()
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == onnx_ir.AttributeType.TENSOR and attribute.value.dtype == onnx_ir.DataType.FLOAT:
                clipped = onnx_ir.tensor(attribute.value.numpy().clip(-HALF_LIMIT, HALF_LIMIT))
                node.attributes[name] = onnx_ir.AttrTensor(name, clipped)


def _exceeds_half(tensor: Any) -> bool:
    """Whether half precision cannot hold a weight; nothing of its values is held when this ends."""
    array = tensor.numpy()
    return bool(array.size and max(array.max(), -array.min()) > HALF_LIMIT)


def _is_mask(value: Any) -> bool:
    """Whether a value is only added up for softmax, so that it may well be minus infinity."""
    if value.is_graph_output() or not value.uses():
        return False
    return all(
        use.node.op_type == "Softmax"
        or (use.node.op_type in _HANDS_ON_MASKS and all(_is_mask(output) for output in use.node.outputs))
        for use in value.uses()
    )


def _title(node: Any) -> str:
    """The node, and the layer that was last before it: only layers have names that say where they are."""
    if weights_of(node) is not None:
        return str(node.name)
    waiting, seen = list(node.inputs), set()
    while waiting:
        value = waiting.pop(0)
        producer = value.producer() if value is not None else None
        if producer is None or producer in seen:
            continue
        if weights_of(producer) is not None:
            return f"{node.op_type} after {producer.name}"
        seen.add(producer)
        waiting.extend(producer.inputs)
    return str(node.op_type)
