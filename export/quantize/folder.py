"""All graphs of a folder, one after the other: quantised, and checked for what became of each layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from compress.errors import CompressError, RejectedVariantError
from export.onnx.graphs import Announce, graphs_in
from export.onnx.layers import layers_in, layers_of, weights_of
from export.onnx.plain import save_companions
from export.onnx.weights import save_graphs, weight_bytes

if TYPE_CHECKING:
    from onnx_ir import Model

_NAMED_LAYERS = 3

Convert = Callable[[Path, "Model", Collection[str]], "Model"]
"""Gives a graph in another precision; called with its file, the graph, which may be altered, and the names of the nodes
that stay as they are."""


def convert_folder(
    source: Path,
    folder: Path,
    excluded: Collection[str],
    convert: Convert,
    announce: Announce,
    rest: Literal["FLOAT", "FLOAT16"] = "FLOAT",
) -> None:
    """Convert each graph of a folder into another folder, and put what lies beside them there.

    :param excluded: Layers (`export.onnx.layers`) that stay as they are.
    :param rest: What these are then stored in.
    :raises CompressError: If a layer is not known, was left as it is though nobody asked or was converted though
        somebody did not want it, or if the weights of a graph have become larger.
    """
    unknown = sorted(set(excluded) - set(layers_in(source)))
    if unknown:
        raise CompressError(f"{source}: no layer is called {_some(unknown)}; search again with another --budget")
    names = [path.name for path in graphs_in(source)]
    save_graphs(names, lambda name: _converted(source / name, excluded, convert, rest), folder, announce)
    save_companions(source, folder)


def _converted(graph: Path, excluded: Collection[str], convert: Convert, rest: str) -> Model:
    import onnx_ir

    model = onnx_ir.load(graph)
    layers, size = layers_of(model), weight_bytes(model)
    kept = [node.name for name in excluded for node in layers.get(name, [])]
    wanted = [node.name for name, nodes in layers.items() for node in nodes if name not in excluded]
    converted = convert(graph, model, kept)
    _check_layers(graph, converted, wanted, kept, rest)
    if weight_bytes(converted) > size:
        raise RejectedVariantError(
            f"{graph}: quantised, its weights have {weight_bytes(converted):,} bytes in place of {size:,}; leave this "
            "variant out (--variants)"
        )
    return converted


def _check_layers(graph: Path, converted: Model, wanted: Sequence[str], kept: Sequence[str], rest: str) -> None:
    stored = {}
    for node in converted.graph:
        weights = weights_of(node)
        if weights is not None:
            stored[str(node.name)] = weights.const_value.dtype.name
    left = [name for name in wanted if stored.get(name, "FLOAT") == "FLOAT"]
    if left:
        raise RejectedVariantError(
            f"{graph}: quantised, {_some(left)} stayed in 32 bits though nobody asked for it; leave this variant out "
            "(--variants)"
        )
    taken = [name for name in kept if stored.get(name) != rest]
    if taken:
        raise RejectedVariantError(
            f"{graph}: {_some(taken)} was to stay as it is, but was quantised; exclude other layers"
        )


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED_LAYERS} more" if len(names) > _NAMED_LAYERS else ""
    return ", ".join(names[:_NAMED_LAYERS]) + more
