"""How good models are, language by language, and what changes from one to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from compress.evaluation.predicted import Predicted
from compress.metrics.cells import cell_figures, cell_losses
from compress.metrics.comparison import agreement, compare
from compress.metrics.figures import CellFigures, LabelFigures, ModelLosses, Quality
from compress.metrics.labels import label_figures, label_losses
from compress.metrics.languages import calibration_error, per_language, rows_by_language
from compress.metrics.metric import Metric
from compress.reports.bench import Change
from compress.tasks.contract import Task
from compress.tasks.rows import Row

_MOST_CHANGES = 10


class Accuracy:
    """Metrics of all models on the same test rows.

    :param labels: Names of the classes, where the task has some.
    """

    def __init__(self, task: Task, rows: Sequence[Row], labels: Sequence[str], predicted: Mapping[str, Predicted]):
        self._task = task
        self._rows = rows
        self.languages = [row.lang for row in rows]
        self.predicted = predicted
        self.metrics: dict[str, dict[str, Metric]] = {
            name: task.metrics(found.predictions, rows, labels) for name, found in predicted.items()
        }

        self._counts = {name: task.label_counts(found.predictions, rows, labels) for name, found in predicted.items()}

    def quality(self, name: str) -> Quality:
        """Every metric of a model by language, with 95 % intervals."""
        return per_language(self.metrics[name], self.languages)

    def calibration(self, name: str) -> dict[str, float] | None:
        """The calibration error of a model by language; none where rows have no label, or its confidence is unknown."""
        found = self.predicted[name]
        if found.confidences is None:
            return None
        sure: NDArray[np.float64] = np.array(found.confidences)
        right = np.array([p == row.label for p, row in zip(found.predictions, self._rows, strict=True)])
        return {
            language: round(calibration_error(sure[numbers], right[numbers]), 4)
            for language, numbers in rows_by_language(self.languages).items()
        }

    def losses(self, reference: str, name: str) -> ModelLosses:
        """What is lost from one model to another, and how often they agree."""
        one, other = self.predicted[reference].predictions, self.predicted[name].predictions
        compared = compare(self.metrics[reference], self.metrics[name], self.languages)
        counts = self._counts[reference], self._counts[name]
        return ModelLosses(
            **dict(compared),
            labels=label_losses(*counts),
            cells=cell_losses(*counts, self.languages),
            agreement=agreement(self._task.agreed(one, other)),
        )

    def labels(self, name: str) -> dict[str, LabelFigures]:
        """Recall and F1 of a model by label; none where rows have no labels of a closed set."""
        return label_figures(self._counts[name], self.languages)

    def cells(self, name: str) -> list[CellFigures]:
        """The same by language and label."""
        return cell_figures(self._counts[name], self.languages)

    def changes(self, reference: str, name: str) -> list[Change] | None:
        """What changed most often from one model to another: from which class to which, and how many were right before
        and after; none where rows have no label."""
        one, other = self.predicted[reference], self.predicted[name]
        if one.confidences is None or other.confidences is None:
            return None
        rows, lost, gained = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for row, before, after in zip(self._rows, one.predictions, other.predictions, strict=True):
            if before != after:
                rows[before, after] += 1
                lost[before, after] += row.label == before
                gained[before, after] += row.label == after
        most = sorted(rows.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_CHANGES]
        return [
            Change(before=pair[0], after=pair[1], rows=count, was_right=lost[pair], is_right=gained[pair])
            for pair, count in most
        ]
