"""What joining requests that wait does to latency and the highest rate: ``python -m bench.studies.load_by_length``.

An encoder of a student's size with random weights answers texts of 4 to 512 tokens, most of them short, which arrive as
a Poisson process: one at a time, joined in their order with padding to the longest, and joined by length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.measure.load import LoadSettings, measure_load
from bench.measure.protocol import ServeAnswer, ServeRequest
from bench.measure.serving import serve
from bench.studies.large_models import WEIGHTS, ModelShape, make_form, write_model
from compress.machine import cpu_features
from compress.reports.bench import LoadCurve
from compress.runtimes.onnx import load_onnx
from compress.runtimes.openvino import load_openvino
from compress.timing import timed

_SHAPE = ModelShape("4 × 256", 4, 256, 30_000)
_FORMS = ("onnx", "onnx-fused", "onnx-int8", "openvino-int8")
_SHORTEST, _LONGEST, _TEXTS, _SECONDS, _LARGEST = 4, 512, 200, 5.0, 8
_BOUND = 3  # times what the longest text takes alone
WAYS: Mapping[str, tuple[int, bool]] = {
    "one at a time": (1, False),
    f"up to {_LARGEST}, in their order": (_LARGEST, False),
    f"up to {_LARGEST}, by length": (_LARGEST, True),
}
"""Requests of a batch at most, and whether those of like length are joined."""


class ServedHere:
    """A model in this process in place of a measuring process, and its setup: text number n is example number n.

    :param answer: Runs texts of these lengths side by side.
    """

    def __init__(self, answer: Callable[[Sequence[int]], object], lengths: Sequence[int]):
        self._answer, self._lengths = answer, lengths

    @property
    def setup(self) -> ServedHere:
        """Itself."""
        return self

    def examples_of(self, rows: Sequence[int]) -> list[int]:
        """Numbers of the examples of some rows."""
        return list(rows)

    def tokens_of(self, row: int) -> int:
        """How many tokens a text has."""
        return self._lengths[row]

    def ask(self, request: ServeRequest) -> ServeAnswer:
        """Serve requests as they arrive."""
        return serve(lambda numbers: self._answer([self._lengths[number] for number in numbers]), request)


def lengths_of_texts(seed: int = 0) -> list[int]:
    """Tokens of the texts: as many from 4 to 8 as from 256 to 512."""
    drawn = np.random.default_rng(seed).uniform(np.log(_SHORTEST), np.log(_LONGEST), _TEXTS)
    return [round(float(length)) for length in np.exp(drawn)]


def curves(answer: Callable[[Sequence[int]], object], lengths: Sequence[int]) -> dict[str, LoadCurve]:
    """What was measured of each way of joining."""
    for length in lengths:  # timing warm-up
        answer([length])
    longest = min(timed(lambda: answer([_LONGEST])).milliseconds for _ in range(5))
    every = sum(timed(lambda length=length: answer([length])).milliseconds for length in lengths)  # type: ignore[misc]
    found = {}
    for way, (largest, by_length) in WAYS.items():
        settings = LoadSettings(range(len(lengths)), _BOUND * longest, largest, _SECONDS, 0, (), by_length)
        found[way] = measure_load(ServedHere(answer, lengths), 1000 * len(lengths) / every, settings)
    return found


def main() -> None:
    """Make the model and print a line for each form and way."""
    print(f"{cpu_features().cpu_name}, one thread; texts of {_SHORTEST} to {_LONGEST} tokens\n")
    print("| form | requests of a batch | bound ms | requests/s | p50 ms | p99 ms | mean batch |")
    print("|---|---|--:|--:|--:|--:|--:|")
    with TemporaryDirectory() as root:
        (Path(root) / WEIGHTS).mkdir()
        write_model(_SHAPE, Path(root) / WEIGHTS)
        for form in _FORMS:
            make_form(_SHAPE, form, Path(root))
            if form != "onnx":
                _print_form(form, Path(root) / form)


def _print_form(form: str, folder: Path) -> None:
    predict = load_openvino(folder, _SHAPE.task, 1) if form.startswith("openvino") else None
    predict = predict or load_onnx(folder / "model.onnx", _SHAPE.task, 1)

    def answer(lengths: Sequence[int]) -> object:
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        return predict({"input_ids": np.full_like(mask, 7), "attention_mask": mask})

    for way, curve in curves(answer, lengths_of_texts()).items():
        point = next((found for found in reversed(curve.rates) if found.holds), None)
        cells = (
            f"{point.rate:.0f} | {point.p50_ms:.1f} | {point.p99_ms:.1f} | {point.mean_batch:.1f}"
            if point
            else "none | | |"
        )
        print(f"| `{form}` | {way} | {curve.bound_ms:.0f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
