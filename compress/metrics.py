"""Accuracy and macro-F1 language by language, with 95 % intervals, and paired comparisons of two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000
ALL = "all"


@dataclass(frozen=True)
class Figure:
    """A share or difference with its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """For JSON, to four places."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def accuracy(predicted: np.ndarray, targets: np.ndarray) -> Figure:
    """Share of right predictions, with Wilson's interval.

    :param predicted: int (rows,).
    :param targets: int (rows,).
    """
    from scipy.stats import binomtest

    right = int(np.sum(predicted == targets))
    interval = binomtest(right, len(targets)).proportion_ci(method="wilson")
    return Figure(right / len(targets), interval.low, interval.high)


def macro_f1(predicted: np.ndarray, targets: np.ndarray, seed: int = 0) -> Figure:
    """Mean F1 over the classes that occur in targets or predictions, with a bootstrap interval over the rows."""
    classes = int(max(predicted.max(), targets.max())) + 1
    cells = targets * classes + predicted
    samples = np.random.default_rng(seed).integers(0, len(cells), (_RESAMPLES, len(cells)))
    values = [_f1(np.bincount(cells[sample], minlength=classes**2).reshape(classes, classes)) for sample in samples]
    low, high = np.percentile(values, [2.5, 97.5])
    return Figure(_f1(np.bincount(cells, minlength=classes**2).reshape(classes, classes)), float(low), float(high))


def paired_drop(reference: np.ndarray, other: np.ndarray, targets: np.ndarray, seed: int = 0) -> Figure:
    """Accuracy lost from ``reference`` to ``other`` on the same rows, with a paired bootstrap interval."""
    lost = (reference == targets).astype(np.int64) - (other == targets).astype(np.int64)
    samples = np.random.default_rng(seed).integers(0, len(lost), (_RESAMPLES, len(lost)))
    low, high = np.percentile(lost[samples].mean(axis=1), [2.5, 97.5])
    return Figure(float(lost.mean()), float(low), float(high))


def per_language(predicted: np.ndarray, targets: np.ndarray, languages: Sequence[str]) -> dict[str, dict[str, dict]]:
    """Accuracy and macro-F1 for each language and for all rows together (key ``all``)."""
    return {
        language: {
            "accuracy": accuracy(predicted[rows], targets[rows]).as_dict(),
            "macro_f1": macro_f1(predicted[rows], targets[rows]).as_dict(),
        }
        for language, rows in rows_by_language(languages).items()
    }


def compare(
    reference: np.ndarray, other: np.ndarray, targets: np.ndarray, languages: Sequence[str]
) -> dict[str, object]:
    """What is lost from one model to another, language by language.

    :return: ``drop`` (share, by language and for all), ``worst_language_drop`` and ``agreement`` of predictions.
    """
    groups = rows_by_language(languages)
    drops = {key: paired_drop(reference[rows], other[rows], targets[rows]) for key, rows in groups.items()}
    worst = max((language for language in drops if language != ALL), key=lambda language: drops[language].value)
    return {
        "drop": {language: drop.as_dict() for language, drop in drops.items()},
        "worst_language_drop": {"language": worst, **drops[worst].as_dict()},
        "agreement": round(float(np.mean(reference == other)), 4),
    }


def rows_by_language(languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Row numbers of each language, in order of its name, and of all rows under ``all``."""
    array = np.asarray(languages)
    groups = {str(language): np.flatnonzero(array == language) for language in np.unique(array)}
    return {**groups, ALL: np.arange(len(array))}


def _f1(confusion: np.ndarray) -> float:
    right = np.diag(confusion)
    occurring = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(2 * right[occurring > 0] / occurring[occurring > 0]))
