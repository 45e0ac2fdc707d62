"""What a form of the student costs and loses against the student in 32 bits, on validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from compress.metrics.comparison import compare
from compress.metrics.figures import LanguageLosses
from compress.runtimes.contract import Predict
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.contract import Prediction
from compress.tasks.rows import Row
from export.onnx.graphs import graph_bytes
from export.search.report import Candidate, Trial
from export.search.timing import timed_in_turn
from export.variants.sample import Sample

_SENSITIVITY_EXAMPLES = 200


def halves_of(rows: Sequence[Row], *, by_text: bool = False) -> tuple[list[int], list[int]]:
    """Numbers of rows to search with and to confirm with; each language is divided evenly.

    :param by_text: Rows of the same text, which is a query then, stay together.
    """
    seen: dict[str, int] = {}
    turns: dict[tuple[str, object], int] = {}
    halves: tuple[list[int], list[int]] = ([], [])
    for number, row in enumerate(rows):
        key = (row.lang, row.text if by_text else number)
        if key not in turns:
            turns[key] = seen[row.lang] = seen.get(row.lang, 0) + 1
        halves[turns[key] % 2].append(number)
    return halves


class Judge:
    """Judges forms of the student.

    :param reference: Folder with the student in 32 bits, in the form that is fastest.
    :param threads: Of one run.
    """

    def __init__(self, sample: Sample, reference: Path, threads: int):
        self.sample, self.threads = sample, threads
        self._reference = self._load(reference)

    def trial(self, candidate: Candidate, folder: Path) -> Trial:
        """Size, latency at batch 1, and the losses on both halves of the rows.

        :param folder: With the candidate's graphs.
        """
        predict = self._load(folder)
        pad_id = self.sample.tokenizer.pad_token_id
        times = timed_in_turn(predict, self._reference, self.sample.examples, pad_id)
        predictions = self._predictions(predict)
        search, confirmation = (
            self._losses(predictions, numbers)
            for numbers in halves_of(self.sample.rows, by_text=self.sample.task.RANKS)
        )
        return Trial(
            name=candidate.name,
            candidate=candidate,
            bytes=graph_bytes(folder),
            p50_ms=times.milliseconds,
            faster=times.faster,
            noisy=times.noisy,
            search=search,
            confirmation=confirmation,
        )

    def difference(self, folder: Path) -> float:
        """Mean distance of the outputs from the reference's on some rows of the language in which it is largest; of
        text, the share that is another."""
        pairs = list(zip(self._some_outputs, self._outputs(self._load(folder), _SENSITIVITY_EXAMPLES), strict=True))
        by_language: dict[str, list[float]] = {}
        for example, (a, b) in zip(self.sample.examples, pairs, strict=False):
            distance = not np.array_equal(a, b) if self.sample.task.GENERATES else np.abs(a - b).mean()
            by_language.setdefault(self.sample.rows[example["row"]].lang, []).append(float(distance))
        return max(float(np.mean(distances)) for distances in by_language.values())

    @cached_property
    def _reference_predictions(self) -> list[Prediction]:
        return self._predictions(self._reference)

    @cached_property
    def _some_outputs(self) -> list[np.ndarray]:
        return self._outputs(self._reference, _SENSITIVITY_EXAMPLES)

    def _load(self, folder: Path) -> Predict:
        return load_predict(folder, self.sample.task, self.sample.search, self.threads)

    def _outputs(self, predict: Predict, count: int) -> list[np.ndarray]:
        sample = self.sample
        return predict_examples(predict, sample.task, sample.examples[:count], sample.tokenizer.pad_token_id)

    def _predictions(self, predict: Predict) -> list[Prediction]:
        return self.sample.predictions(self._outputs(predict, len(self.sample.examples)))

    def _losses(self, predictions: Sequence[Prediction], numbers: Sequence[int]) -> LanguageLosses:
        rows = [self.sample.rows[number] for number in numbers]
        reference, other = (
            self.sample.task.metrics([found[number] for number in numbers], rows, self.sample.labels)
            for found in (self._reference_predictions, predictions)
        )
        return compare(reference, other, [row.lang for row in rows])
