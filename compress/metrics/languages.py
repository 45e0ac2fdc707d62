"""Figures language by language, and how far confidence can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.metrics.metric import Metric

if TYPE_CHECKING:
    from compress.metrics.figures import Quality

_BINS = 15


ALL = "all"


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """How far the confidence in predictions is from the share that is right: the mean over 15 bins of equal width,
    weighted by their rows (Guo et al., 2017). Both (rows,)."""
    bins = np.minimum((np.asarray(confidences) * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    sums = np.bincount(bins, weights=np.asarray(confidences) - right, minlength=_BINS)
    return float(np.abs(sums).sum() / rows.sum())


def per_language(metrics: Mapping[str, Metric], languages: Sequence[str]) -> Quality:
    """Every metric for each language and for all rows together (key ``all``)."""
    return {
        language: {name: metric.figure(rows).rounded for name, metric in metrics.items()}
        for language, rows in rows_by_language(languages).items()
    }


def signatures(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """How others can compute the figures, for those metrics that have a standard way to say so."""
    return {name: metric.signature for name, metric in metrics.items() if metric.signature}


def rows_by_language(languages: Sequence[str] | np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of each language, in order of its name, and of all rows under ``all``."""
    array = np.asarray(languages)
    groups = {str(language): np.flatnonzero(array == language) for language in np.unique(array)}
    return {**groups, ALL: np.arange(len(array))}
