"""Both decoders of a translator in one graph, as Optimum and transformers.js open them: `decoder_model_merged.onnx`.

The input ``use_cache_branch`` tells whether keys and values of the tokens before are given, or the translation begins,
when they are of no tokens. Where they are given, those of the source are not given back: they have not changed. Our own
runtime opens the two: a branch costs each token some percent. `export.variants.merged` looks that it says the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.console import say
from compress.runtimes.generation import DECODER, DECODER_WITH_PAST, MERGED

_CHOICE = "use_cache_branch"


def merge_decoders(folder: Path) -> None:
    """Write the merged decoder beside the two that it is made of, whose weights it shares, in the file beside them.

    It is left out, and that said, where their operators are of different versions: one graph has one of each.
    """
    import onnx
    from onnx import TensorProto, helper

    first, following = (onnx.load(folder / name, load_external_data=False) for name in (DECODER, DECODER_WITH_PAST))
    opsets, others = ({opset.domain: opset.version for opset in model.opset_import} for model in (first, following))
    if different := [domain for domain, version in others.items() if opsets.get(domain, version) != version]:
        told = ", ".join(f"{opsets[domain]} and {others[domain]}" for domain in different)
        say(f"{MERGED}: left out: the two decoders have operators of different versions ({told})")
        return
    outputs = [value.name for value in first.graph.output]
    inputs = {value.name: value for value in (*following.graph.input, *first.graph.input)}
    for value in first.graph.output:
        if value.name not in {given.name for given in following.graph.output}:
            following.graph.node.append(_nothing(value))
            following.graph.output.append(value)
    following.graph.output.sort(key=lambda value: outputs.index(value.name))
    shared: dict[tuple[str, ...], Any] = {}
    branches = {
        "then_branch": _branch("with_past", following.graph, shared),
        "else_branch": _branch("first", first.graph, shared),
    }
    choice = helper.make_tensor_value_info(_CHOICE, TensorProto.BOOL, [1])
    graph = helper.make_graph(
        [helper.make_node("If", [_CHOICE], outputs, **branches)],
        "merged",
        [*inputs.values(), choice],
        list(first.graph.output),
        list(shared.values()),
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in (opsets | others).items()]
    merged = helper.make_model(graph, opset_imports=imports, ir_version=max(first.ir_version, following.ir_version))
    onnx.save(merged, folder / MERGED)


def _nothing(value: Any) -> Any:
    """A constant of no rows, in the place of keys or values that are given back by the other branch alone."""
    from onnx import helper

    kind = value.type.tensor_type
    sizes = [size.dim_value or 1 for size in kind.shape.dim]
    empty = helper.make_tensor("nothing", kind.elem_type, [0, *sizes[1:]], [])
    return helper.make_node("Constant", [], [value.name], value=empty)


def _branch(name: str, graph: Any, shared: dict[tuple[str, ...], Any]) -> Any:
    """A graph as a branch: its inputs are those of the graph around it, and what lies in the file beside it, too.

    :param shared: Weights of the graph around it, by where they lie.
    """
    from onnx import TensorProto, helper

    renamed = {value.name: f"{name}.{value.name}" for value in graph.output}
    own = []
    for tensor in graph.initializer:
        if not tensor.external_data:
            own.append(tensor)
            continue
        place = tuple(sorted(f"{entry.key}={entry.value}" for entry in tensor.external_data))
        kind = (*place, str(tensor.data_type), *map(str, tensor.dims))
        if kind not in shared:
            shared[kind] = TensorProto()
            shared[kind].CopyFrom(tensor)
            shared[kind].name = f"shared.{len(shared)}"
        renamed[tensor.name] = shared[kind].name
    for node in graph.node:
        node.input[:] = [renamed.get(value, value) for value in node.input]
        node.output[:] = [renamed.get(value, value) for value in node.output]
    results = [
        helper.make_tensor_value_info(renamed[value.name], value.type.tensor_type.elem_type, None)
        for value in graph.output
    ]
    return helper.make_graph(list(graph.node), name, [], results, own)
