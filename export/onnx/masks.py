"""What attention may see: masks that exporters compute by many nodes, in the place of which few or none do.

Such nodes run anew for each token that a decoder writes. What a mask hides is found by computing it for random inputs,
whatever nodes it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.runtimes.onnx import onnx_session
from export.onnx.weights import constant

_HIDDEN = -1e30  # what is added to scores of what is not to be seen is less
_LARGEST_CONSTANT = 100_000  # bytes: what is computed of more is no mask
_WIDEST_WINDOW = 1000  # tokens
_DRAWS, _BATCH = 3, 2


@dataclass(frozen=True)
class Mask:
    """What is added to attention's scores, none if nothing is.

    ``causal``: a token sees those up to itself. ``is_known``: no row that sees nothing becomes what is not a number.
    """

    value: Any
    causal: bool = False
    is_known: bool = True


def simpler_mask(model: Any, value: Any, length: Any) -> Mask:
    """What hides the same as a value of an ``onnx_ir.Model``, which attention adds to its scores.

    Padding alone is one value for all of a graph; what hides otherwise stays as it is.

    :param length: Tokens that ask.
    """
    drawn = _drawn(model, value)
    if drawn is None:
        return Mask(value, is_known=False)
    feeds, found = drawn
    if all((mask == 0).all() for mask in found):
        return Mask(None)
    if all(_hides(mask, np.triu(np.ones(mask.shape[-2:], bool), 1)) for mask in found):
        return Mask(None, causal=True)
    inputs = {given.name: given for given in model.graph.inputs}
    asking = inputs.get("input_ids")
    if asking is None or length not in (1, asking.shape[1]):
        return Mask(value, is_known=False)
    for name in [name for name in inputs if name in feeds[0] and name.endswith("attention_mask")]:
        if all(_hides(mask, (feed[name] == 0)[:, None, None]) for mask, feed in zip(found, feeds, strict=True)):
            return Mask(_padding(model.graph, inputs[name], asking if length != 1 else None))
    return Mask(value, is_known=False)


def _drawn(model: Any, value: Any) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]] | None:
    """Random inputs, and what a value is for them; none where it is computed of weights, or of so large numbers that
    what they do cannot be seen.

    Texts are longer than any number that it is computed of: a window of so many tokens would show.
    """
    import onnx_ir

    chain = onnx_ir.convenience.extract(model.graph, list(model.graph.inputs), [value])
    constants = [one.const_value for one in chain.initializers.values()]
    if any(constant is None or constant.nbytes > _LARGEST_CONSTANT for constant in constants):
        return None
    longest = max((_largest_count(constant.numpy()) for constant in constants if constant is not None), default=0)
    if longest > _WIDEST_WINDOW:
        return None
    chain.outputs[0].type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    alone = onnx_ir.Model(chain, ir_version=model.ir_version)
    session = onnx_session(onnx_ir.to_proto(alone).SerializeToString())
    generator = np.random.default_rng(0)
    feeds = [_random_inputs(session, longest + 2, generator) for _ in range(_DRAWS)]
    return feeds, [session.run(None, feed)[0] for feed in feeds]


def _largest_count(array: np.ndarray) -> int:
    """The largest number that may count tokens: neither what hides them nor the end of all."""
    sizes = np.abs(array.astype(np.float64))
    return int(sizes[sizes < np.iinfo(np.int32).max].max(initial=0))


def _random_inputs(session: Any, shortest: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs whose sizes of the same name are the same, with padding anywhere but in a row's first place."""
    names = sorted({size for value in session.get_inputs() for size in value.shape if isinstance(size, str)})
    lengths = shortest + generator.permutation(len(names))
    sizes = {name: _BATCH if "batch" in name else size for name, size in zip(names, lengths, strict=True)}
    feed = {}
    for value in session.get_inputs():
        shape = [sizes.get(size, size) for size in value.shape]
        numbers = generator.integers(0, 2, shape)
        if value.name.endswith("attention_mask"):
            numbers[:, 0] = 1
        feed[value.name] = numbers.astype({"tensor(int64)": np.int64, "tensor(float)": np.float32}[value.type])
    return feed


def _hides(mask: np.ndarray, hidden: np.ndarray) -> bool:
    """Whether a mask hides these places, and adds nothing to all others."""
    try:
        shape = np.broadcast_shapes(mask.shape, hidden.shape)
    except ValueError:
        return False
    mask, hidden = np.broadcast_to(mask, shape), np.broadcast_to(hidden, shape)
    return bool((mask[hidden] < _HIDDEN).all() and (mask[~hidden] == 0).all())


def _padding(graph: Any, given: Any, asking: Any) -> Any:
    """What hides padding: (rows, 1, asking, tokens), or for one token that asks, if ``asking`` is none."""
    import onnx_ir

    name = f"{given.name}_hides"
    known = [node.outputs[0] for node in graph if node.outputs[0].name == name]
    if known:
        return known[0]

    def fixed(part: str, array: Any) -> Any:
        return constant(graph, f"{name}_{part}", array)

    wide = onnx_ir.node("Unsqueeze", [given, fixed("axes", np.array([1, 2]))])
    real = onnx_ir.node("Cast", wide.outputs, {"to": onnx_ir.DataType.FLOAT.value})
    less = onnx_ir.node("Sub", [real.outputs[0], fixed("real", np.array(1, np.float32))])
    nodes = [
        wide,
        real,
        less,
        onnx_ir.node("Mul", [less.outputs[0], fixed("most", np.array(np.finfo(np.float32).max))]),
    ]
    if asking is not None:  # ONNX Runtime wants the length of what asks, though all see the same
        one = fixed("one", np.array([1]))
        asked = onnx_ir.node("Shape", [asking], {"start": 1, "end": 2})
        shape = onnx_ir.node("Concat", [one, one, asked.outputs[0], one], {"axis": 0})
        nodes += [asked, shape, onnx_ir.node("Expand", [nodes[-1].outputs[0], shape.outputs[0]])]
    found = nodes[-1].outputs[0]
    found.name, found.type = name, onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
    found.shape = onnx_ir.Shape([given.shape[0], 1, 1 if asking is None else asking.shape[1], given.shape[1]])
    graph.insert_before(graph[0], nodes)
    return found
