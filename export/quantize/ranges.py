"""The ranges of what products read, found on real inputs: static int8 needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.recipe.export import CalibrationMethod
from compress.runtimes.onnx import onnx_session
from export.onnx.weights import array_of

_TOKENS_AT_ONCE = 1024  # what all products read of them is in memory together
_BINS = {"entropy": 128, "percentile": 2048}  # of histograms, as many as ONNX Runtime's own calibration has
_PERCENTILE = 99.999

Range = tuple[float, float]
"""The smallest value and the largest."""

Extremes = tuple[np.ndarray, np.ndarray]
"""The same of each channel, the last axis: two of float (channels,)."""

Feed = Mapping[str, np.ndarray]
"""Real inputs of a graph, whose first axis runs over rows."""


Values = Callable[[], Iterator[dict[str, np.ndarray]]]
"""Gives values in a graph, by their names, for some rows after the others; can be called again."""


def values_of(graph: Path, names: Sequence[str], feeds: Sequence[Feed]) -> Values:
    """What values in a graph are on real inputs; the graph is opened once."""
    import onnx_ir

    model = onnx_ir.load(graph)
    constants = {name: array_of(value) for name, value in model.graph.initializers.items() if name in names}
    calculated = [value for node in model.graph for value in node.outputs if value.name in names]
    for value in calculated:
        value.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
        if not value.is_graph_output():
            model.graph.outputs.append(value)
    wanted = [str(value.name) for value in calculated]
    session = onnx_session(onnx_ir.to_proto(model).SerializeToString(), weights=graph.parent)

    def seen() -> Iterator[dict[str, np.ndarray]]:
        for feed in feeds:
            for rows in _some_rows(feed):
                given = {name: rows[name] for name in names if name in rows}
                found = session.run(wanted or None, rows)
                yield {**constants, **given, **dict(zip(wanted, found, strict=False))}

    return seen


def extremes_of(values: Values) -> dict[str, Extremes]:
    """The extremes of values, by their names."""
    found: dict[str, Extremes] = {}
    for some in values():
        for name, array in some.items():
            flat = array.reshape(-1, array.shape[-1])
            low, high = found.get(name, (flat[0], flat[0]))
            found[name] = (np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0)))
    return found


def ranges_of(
    values: Values, method: CalibrationMethod, extremes: Mapping[str, Extremes], factors: Mapping[str, np.ndarray]
) -> dict[str, Range]:
    """The ranges of values, by their names.

    :param method: ``minmax``: of all values; ``percentile``: of nearly all; ``entropy``: what loses least information.
        The two are ONNX Runtime's.
    :param extremes: Of these values.
    :param factors: What each channel is to be divided by, of values that are.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    if method == "minmax":
        parts = {name: [part / factors.get(name, 1.0) for part in both] for name, both in extremes.items()}
        return {name: (float(low.min()), float(high.max())) for name, (low, high) in parts.items()}
    symmetric, bins = method == "percentile", _BINS[method]
    collector = HistogramCollector(method, symmetric, bins, bins, _PERCENTILE, "same")
    for some in values():
        for name, array in some.items():  # one after the other: together they are large
            collector.collect({name: array / factors[name] if name in factors else array})
    return {name: (float(low), float(high)) for name, (low, high, *_) in collector.compute_collection_result().items()}


def _some_rows(feed: Feed) -> Iterator[dict[str, np.ndarray]]:
    """The rows of a batch, as many at once as memory is spent on."""
    arrays: list[Any] = list(feed.values())
    count, tokens = len(arrays[0]), max(array.shape[1] for array in arrays)
    step = max(1, _TOKENS_AT_ONCE // tokens)
    for start in range(0, count, step):
        yield {name: array[start : start + step] for name, array in feed.items()}
