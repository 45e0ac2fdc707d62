"""The gate's judgement: is a variant slower, larger or worse than its baseline by more than a limit?

Every figure is a ratio or a drop with an interval. Its lower end holds with 95 % for all times of a check together, or
all accuracies (Bonferroni), its upper end with 95 % for itself: a figure fails if even the lower end is beyond the
limit, passes if the upper end is within it, and is inconclusive between. Where so few rows could not pass whatever they
showed, that is what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bench.measure.statistics import fewest_values, median_interval
from compress.contract import Contract
from compress.metrics.comparison import Pair, PairedLoss
from compress.metrics.figures import WORST_FIRST, Verdict
from compress.metrics.proportions import fewest_rows

ALPHA = 0.05
"""The chance that a check whose figures are all just at their limits fails, once for times, once for accuracies and
once for labels in a language; and that a figure which is beyond its limit passes."""
_MOST_ROWS = 1_000_000


class Limits(Contract):
    """What is allowed: ratios of times and bytes, points of the main metric in a language and of a label's recall."""

    max_slowdown: float = Field(1.10, gt=0)
    max_growth: float = Field(1.05, gt=0)
    max_drop: float = Field(1.0, ge=0)
    max_label_drop: float = Field(5.0, ge=0)


class Finding(Contract):
    """One figure of one variant against its baseline."""

    variant: str
    figure: str
    language: str | None = None
    label: str | None = None
    unit: Literal["ratio", "points"]
    value: float
    low: float | None = Field(description="null: there are too few values for an interval")
    high: float | None
    limit: float
    verdict: Verdict
    note: str = ""

    @property
    def place(self) -> str:
        """The language, the label, or the label in a language that it is of; empty where it is of all."""
        return ", ".join(name for name in (self.language, self.label) if name)

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
    """What is judged: a figure of a variant, in one language, of one label or over all rows, and its limit."""

    variant: str
    figure: str
    language: str | None
    limit: float
    label: str | None = None


def judge(low: float, high: float, limit: float) -> Verdict:
    """Fail where the interval is beyond the limit, pass where it is within it."""
    if low > limit:
        return "fail"
    return "pass" if high <= limit else "inconclusive"


def overall(findings: Sequence[Finding]) -> Verdict:
    """The verdict of a check: that of its worst figure."""
    found = {finding.verdict for finding in findings}
    return next((verdict for verdict in WORST_FIRST if verdict in found), "pass")


@dataclass(frozen=True)
class Chances:
    """That the lower end of an interval is too high, and that its upper end is too low."""

    below: float
    above: float


@dataclass(frozen=True)
class Doubt:
    """By how much more, as a logarithm, either end of a ratio of times may be wrong; ``busy`` says whose times other
    work disturbed, where that was too much."""

    below: float
    above: float
    busy: str | None = None


NO_DOUBT = Doubt(0.0, 0.0)


def slowdown(judged: Judged, logs: NDArray[np.float64], chances: Chances, doubt: Doubt = NO_DOUBT) -> Finding:
    """A ratio of times, the median with an interval.

    :param logs: Logarithms of the time over that of the baseline, float (batches,), each the median of its runs: runs
        of the same batch are no independent evidence of others.
    """
    wide, narrow = (median_interval(logs, 1 - 2 * one_sided) for one_sided in (chances.below, chances.above))
    value, low, high = (float(np.exp(end)) for end in (wide.value, wide.low - doubt.below, narrow.high + doubt.above))
    verdict, note = judge(low, high, judged.limit), ""
    if verdict == "inconclusive":
        note, needed = f"{len(logs)} batches", fewest_values(chances.above)
        if len(logs) < needed:
            verdict, note = "not enough rows", f"{note}; {needed} would do, see bench.rows"
        elif doubt.busy:
            note = f"too noisy: {doubt.busy}; stop what else runs on this machine"
    return _ratio_finding(judged, (value, low, high), verdict, note)


def growth(judged: Judged, new: Sequence[float], old: Sequence[float]) -> Finding:
    """A ratio of bytes; the interval reaches from the smallest to the largest ratio of any two starts."""
    value = float(np.median(new) / np.median(old))
    low, high = min(new) / max(old), max(new) / min(old)
    verdict = judge(low, high, judged.limit)
    note = f"the starts differ by {100 * (high / low - 1):.1f} %" if verdict == "inconclusive" else ""
    return _ratio_finding(judged, (value, low, high), verdict, note)


@dataclass(frozen=True)
class JudgedDrop:
    """Points that are lost, with an interval, and what that is beside a limit."""

    value: float
    low: float
    high: float
    verdict: Verdict


def judged_drop(limit: float, pair: Pair, chances: Chances) -> JudgedDrop:
    """Points that are lost of a metric.

    :param limit: So many may be.
    """
    value, low, high = (100 * share for share in _ends(pair.loss, chances))
    verdict = judge(low, high, limit)
    if verdict == "inconclusive" and len(pair.rows) < fewest_rows(limit / 100, chances.above):
        verdict = "not enough rows"
    return JudgedDrop(value, low, high, verdict)


def drop(judged: Judged, pair: Pair, chances: Chances) -> Finding:
    """The same of a variant."""
    found, note = judged_drop(judged.limit, pair, chances), ""
    if found.verdict in ("inconclusive", "not enough rows"):
        note = f"{len(pair.rows):,} rows; {_needed(judged.limit, pair, chances)}"
    value, low, high = (round(end, 4) for end in (found.value, found.low, found.high))
    return Finding(**asdict(judged), unit="points", value=value, low=low, high=high, verdict=found.verdict, note=note)


def _ends(loss: PairedLoss, chances: Chances) -> tuple[float, float, float]:
    return loss.value, loss.low(chances.below), loss.high(chances.above)


def _needed(limit: float, pair: Pair, chances: Chances) -> str:
    """How many rows would decide, if more of them changed as these do."""
    from scipy.optimize import brentq

    if limit == 0 and pair.loss.value <= 0:
        return "no number of rows shows that nothing at all is lost: allow more than 0"
    worse = 100 * pair.loss.value > limit

    def beyond(factor: float) -> float:
        """How far an interval of so many times as many rows is beyond the limit on the side that decides."""
        _, low, high = (100 * share for share in _ends(pair.with_more_rows(factor), chances))
        return limit - low if worse else high - limit

    most = _MOST_ROWS / len(pair.rows)
    if most <= 1 or beyond(most) > 0:
        return f"more than {_MOST_ROWS:,} would be needed"
    return f"about {_rounded_up(len(pair.rows) * float(brentq(beyond, 1, most, rtol=0.001))):,} would do"


def _rounded_up(rows: float) -> int:
    """To two digits."""
    unit = 10 ** max(0, int(np.log10(rows)) - 1)
    return int(np.ceil(rows / unit) * unit)


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
