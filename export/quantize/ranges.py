"""The ranges of what products read, found on real inputs: static int8 needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import RejectedVariantError
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

Inputs = Mapping[str, np.ndarray]
"""Real inputs of a graph, whose first axis runs over rows."""

Values = Mapping[str, np.ndarray]
"""Values in a graph, by their names, for some rows."""


class WatchedSession:
    """A graph's session that shows values in the graph to whoever watches; it opens when it is asked."""

    def __init__(self, graph: Path, names: Sequence[str]):
        import onnx_ir

        model = onnx_ir.load(graph)
        self._constants = {name: array_of(value) for name, value in model.graph.initializers.items() if name in names}
        self._graph, self._names = graph, names
        self._own, self._accepted = (
            [str(value.name) for value in of] for of in (model.graph.outputs, model.graph.inputs)
        )
        calculated = [value for node in model.graph for value in node.outputs if value.name in names]
        for value in calculated:
            value.type = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)
            if not value.is_graph_output():
                model.graph.outputs.append(value)
        self._calculated = [str(value.name) for value in calculated]
        self._altered, self._open = onnx_ir.to_proto(model).SerializeToString(), None
        self.watch: Callable[[Values], None] = lambda values: None

    def get_outputs(self) -> Sequence[Any]:
        """Those that the graph has by itself; each has a ``name``."""
        import onnx_ir

        return list(onnx_ir.load(self._graph).graph.outputs)

    def run(self, outputs: list[str] | None, inputs: Inputs) -> list[np.ndarray]:
        """What ONNX Runtime's own session gives; nothing is shown."""
        found: list[np.ndarray] = self._session.run(outputs or self._own, dict(inputs))
        return found

    def close(self) -> None:
        """Give the memory of its weights back until it is asked again."""
        self._open = None

    @property
    def _session(self) -> Any:
        if self._open is None:
            self._open = onnx_session(self._altered, weights=self._graph.parent)
        return self._open

    def show(self, inputs: Inputs) -> None:
        """Show the values on some inputs, of few rows after the others."""
        for rows in _some_rows({name: inputs[name] for name in self._accepted}):
            given = {name: rows[name] for name in self._names if name in rows}
            found = self._session.run(self._calculated or None, rows)
            self.watch({**self._constants, **given, **dict(zip(self._calculated, found, strict=False))})


Calibrate = Callable[[Path, WatchedSession], None]
"""Lets the session of a graph, whose file is given too, show its values on the calibration rows."""

Watched = Callable[[Callable[[Values], None]], None]
"""Shows all values to whoever watches; can be called again. Raises RejectedVariantError where there are none."""


def watched(graph: Path, names: Sequence[str], calibrate: Calibrate) -> Watched:
    """Values in a graph on the calibration rows; the graph is read once."""
    session = WatchedSession(graph, names)

    def show(watch: Callable[[Values], None]) -> None:
        seen = 0

        def count(values: Values) -> None:
            nonlocal seen
            seen += 1
            watch(values)

        session.watch = count
        calibrate(graph, session)
        if not seen:
            raise RejectedVariantError(
                f"{graph}: no calibration row reaches it, as what the model writes ends with its first token: no "
                "ranges can be found; calibrate with other rows (export.calibration), or leave this variant out "
                "(--variants)"
            )

    return show


def extremes_of(show: Watched) -> dict[str, Extremes]:
    """The extremes of values, by their names."""
    found: dict[str, Extremes] = {}

    def widen(values: Values) -> None:
        for name, array in values.items():
            flat = array.reshape(-1, array.shape[-1])
            low, high = found.get(name, (flat[0], flat[0]))
            found[name] = (np.minimum(low, flat.min(axis=0)), np.maximum(high, flat.max(axis=0)))

    show(widen)
    return found


def ranges_of(show: Watched, method: CalibrationMethod, factors: Mapping[str, np.ndarray]) -> dict[str, Range]:
    """The ranges of values, by their names.

    :param method: ``minmax``: of all values; ``percentile``: of nearly all; ``entropy``: what loses least information.
        The two are ONNX Runtime's.
    :param factors: What each channel is to be divided by, of values that are.
    """
    from onnxruntime.quantization.calibrate import HistogramCollector

    def divided(name: str, array: np.ndarray) -> np.ndarray:
        return array / factors[name] if name in factors else array

    if method == "minmax":
        parts = {name: [divided(name, part) for part in both] for name, both in extremes_of(show).items()}
        return {name: (float(low.min()), float(high.max())) for name, (low, high) in parts.items()}
    symmetric, bins = method == "percentile", _BINS[method]
    collector = HistogramCollector(method, symmetric, bins, bins, _PERCENTILE, "same")

    def count(values: Values) -> None:
        for name, array in values.items():  # one after the other: together they are large
            collector.collect({name: divided(name, array)})

    show(count)
    return {name: (float(low), float(high)) for name, (low, high, *_) in collector.compute_collection_result().items()}


def _some_rows(feed: Inputs) -> Iterator[dict[str, np.ndarray]]:
    """The rows of a batch, as many at once as memory is spent on."""
    arrays: list[Any] = list(feed.values())
    count, tokens = len(arrays[0]), max(array.shape[1] for array in arrays)
    step = max(1, _TOKENS_AT_ONCE // tokens)
    for start in range(0, count, step):
        yield {name: array[start : start + step] for name, array in feed.items()}
