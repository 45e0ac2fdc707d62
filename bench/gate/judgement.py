"""The gate's judgement: is a variant slower, larger or worse than its baseline by more than a limit?

Every figure is a ratio or a drop with an interval. Its lower end holds with 95 % for all times of a check together, or
all accuracies (Bonferroni), its upper end with 95 % for itself: a figure fails if even the lower end is beyond the
limit, passes if the upper end is within it, and is inconclusive between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.measure.statistics import median_interval
from compress.contract import Contract
from compress.metrics.comparison import drop_and_error
from compress.metrics.metric import Metric

Verdict = Literal["pass", "fail", "inconclusive"]
ALPHA = 0.05
"""The chance that a check whose figures are all just at their limits fails: once for times, once for accuracies."""


class Limits(Contract):
    """What is allowed: ratios of times and of bytes, and points of the main metric in any language."""

    max_slowdown: float = Field(1.10, gt=0)
    max_growth: float = Field(1.05, gt=0)
    max_drop: float = Field(1.0, ge=0)


class Finding(Contract):
    """One figure of one variant against its baseline."""

    variant: str
    figure: str
    language: str | None = None
    unit: Literal["ratio", "points"]
    value: float
    low: float | None = Field(description="null: there are too few values for an interval")
    high: float | None
    limit: float
    verdict: Verdict
    note: str = ""

    @property
    def told(self) -> str:
        """The figure with its interval, for people."""
        form = ".3f" if self.unit == "ratio" else "+.2f"
        if self.low is None or self.high is None:
            return f"{self.value:{form}}"
        separator = "–" if self.unit == "ratio" else "…"
        return f"{self.value:{form}} ({self.low:{form}}{separator}{self.high:{form}})"


@dataclass(frozen=True)
class Judged:
    """What is judged: a figure of a variant, in one language or over all rows, and its limit."""

    variant: str
    figure: str
    language: str | None
    limit: float


def judge(low: float, high: float, limit: float) -> Verdict:
    """Fail where the interval is beyond the limit, pass where it is within it."""
    if low > limit:
        return "fail"
    return "pass" if high <= limit else "inconclusive"


def overall(findings: Sequence[Finding]) -> Verdict:
    """The verdict of a check: that of its worst figure."""
    worst: tuple[Verdict, ...] = ("fail", "inconclusive")
    return next((verdict for verdict in worst if verdict in [finding.verdict for finding in findings]), "pass")


def slowdown(judged: Judged, logs: NDArray[np.float64], chance: float, doubt: float = 0.0) -> Finding:
    """A ratio of times, the median with an interval.

    :param logs: Logarithms of the time over that of the baseline, float (pairs of runs,).
    :param chance: That the lower end of the interval is too high.
    :param doubt: By how much more, as a logarithm, either end may be wrong.
    """
    wide, narrow = (median_interval(logs, 1 - 2 * one_sided) for one_sided in (chance, ALPHA))
    value, low, high = (float(np.exp(end)) for end in (wide.value, wide.low - doubt, narrow.high + doubt))
    verdict = judge(low, high, judged.limit)
    note = f"after {len(logs)} pairs of runs" if verdict == "inconclusive" else ""
    return _ratio_finding(judged, (value, low, high), verdict, note)


def growth(judged: Judged, new: Sequence[float], old: Sequence[float]) -> Finding:
    """A ratio of bytes; the interval reaches from the smallest to the largest ratio of any two starts."""
    value = float(np.median(new) / np.median(old))
    low, high = min(new) / max(old), max(new) / min(old)
    verdict = judge(low, high, judged.limit)
    note = f"the starts differ by {100 * (high / low - 1):.1f} %" if verdict == "inconclusive" else ""
    return _ratio_finding(judged, (value, low, high), verdict, note)


def drop(judged: Judged, old: Metric, new: Metric, rows: NDArray[Any], chance: float) -> Finding:
    """Points that are lost in a language, with the normal interval of its standard error.

    :param rows: Numbers of the language's rows, int (rows,).
    :param chance: That the lower end of the interval is too high.
    """
    from scipy.stats import norm

    value, error = (100 * share for share in drop_and_error(old, new, rows))
    below, above = float(norm.isf(chance)), float(norm.isf(ALPHA))
    low, high = value - below * error, value + above * error
    verdict = judge(low, high, judged.limit)
    note = ""
    if verdict == "inconclusive":
        note = f"{len(rows)} rows"
        distance = (value - judged.limit) / (below if value > judged.limit else -above)
        needed = len(rows) * (error / distance) ** 2 if distance else np.inf
        if needed < 1e6:
            note += f"; about {needed:,.0f} rows would tell"
    value, low, high = (round(end, 4) for end in (value, low, high))
    return Finding(**asdict(judged), unit="points", value=value, low=low, high=high, verdict=verdict, note=note)


def _ratio_finding(judged: Judged, interval: tuple[float, float, float], verdict: Verdict, note: str) -> Finding:
    value, low, high = interval
    return Finding(
        **asdict(judged),
        unit="ratio",
        value=round(value, 4),
        low=_end(low),
        high=_end(high),
        verdict=verdict,
        note=note,
    )


def _end(ratio: float) -> float | None:
    """An end of an interval of ratios; there is none where too few values decide nothing."""
    return round(ratio, 4) if np.isfinite(ratio) and ratio > 0 else None
