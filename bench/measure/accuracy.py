"""How good models are, language by language, and what changes from one to another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from compress.evaluation.predicted import Predicted
from compress.metrics.comparison import agreement, compare
from compress.metrics.languages import calibration_error, per_language, rows_by_language
from compress.metrics.metric import Metric
from compress.tasks.contract import Task
from compress.tasks.rows import Row

_MOST_CHANGES = 10


class Accuracy:
    """Metrics of all models on the same test rows.

    :param labels: Names of the classes, where the task has some.
    """

    def __init__(self, task: Task, rows: Sequence[Row], labels: Sequence[str], predicted: dict[str, Predicted]):
        self._task, self._rows = task, rows
        self._languages = [row.lang for row in rows]
        self._predicted = predicted
        self.metrics: dict[str, dict[str, Metric]] = {
            name: task.metrics(found.predictions, rows, labels) for name, found in predicted.items()
        }

    def quality(self, name: str) -> dict[str, dict[str, dict[str, float]]]:
        """Every metric of a model by language, with 95 % intervals."""
        return per_language(self.metrics[name], self._languages)

    def calibration(self, name: str) -> dict[str, float] | None:
        """The calibration error of a model by language; none where rows have no label, or its confidence is unknown."""
        sure = self._predicted[name].confidences
        if sure is None:
            return None
        right = np.array([p == row.label for p, row in zip(self._predicted[name].predictions, self._rows, strict=True)])
        return {
            language: round(calibration_error(np.array(sure)[numbers], right[numbers]), 4)
            for language, numbers in rows_by_language(self._languages).items()
        }

    def comparison(self, reference: str, name: str) -> dict[str, Any]:
        """What is lost from one model to another, how often they agree, and which predictions changed."""
        one, other = self._predicted[reference].predictions, self._predicted[name].predictions
        return {
            **compare(self.metrics[reference], self.metrics[name], self._languages),
            "agreement": agreement(one, other),
            "changed": self._changed(one, other) if self._task.SINGLE_LABEL else None,
        }

    def _changed(self, before: Sequence[str], after: Sequence[str]) -> list[dict[str, Any]]:
        """What changed most often: from which class to which, and how many were right before and after."""
        rows, lost, gained = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for row, one, other in zip(self._rows, before, after, strict=True):
            if one != other:
                rows[one, other] += 1
                lost[one, other] += row.label == one
                gained[one, other] += row.label == other
        return [
            {"from": pair[0], "to": pair[1], "rows": count, "was_right": lost[pair], "is_right": gained[pair]}
            for pair, count in sorted(rows.items(), key=lambda entry: (-entry[1], entry[0]))[:_MOST_CHANGES]
        ]
