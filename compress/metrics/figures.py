"""Figures with their intervals, as reports hold them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.contract import Contract

Verdict = Literal["pass", "fail", "inconclusive", "not enough rows"]
"""Of a figure and its limit: within it, beyond it, or these rows do not show which, or are too few to show it."""
WORST_FIRST: tuple[Verdict, ...] = ("fail", "inconclusive", "not enough rows", "pass")


class Interval(Contract):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Loss(Interval):
    """What is lost of a metric, as a share (0.01 is one point); less than 0 is a gain."""

    p: float = Field(
        description="chance of a difference as large if there were none (McNemar's test, or approximate randomisation)"
    )
    p_adjusted: float = Field(description="the same, adjusted for the number of languages or labels (Holm)")


class WorstLoss(Interval):
    """The largest loss of any language, with the interval of the largest true loss of any."""

    language: str


class LanguageLosses(Contract):
    """What is lost of a metric from one model to another, language by language."""

    metric: str
    drop: dict[str, Loss] = Field(description="by language, and all")
    worst_language_drop: WorstLoss


class CellLoss(Contract):
    """What a label loses in a language."""

    language: str
    label: str
    rows: int = Field(description="that have it")
    recall: Loss = Field(description="adjusted for the number of labels in a language that have rows")
    f1: Interval


class ModelLosses(LanguageLosses):
    """The same, what labels lose, and how often the two models agree."""

    labels: dict[str, Loss] = Field(description="of the recall of each label; empty where they are no closed set")
    cells: list[CellLoss] = Field(
        default_factory=list,
        description="of each label in each language that has rows of it, those first of which it is surest that they "
        "lose; empty where labels are no closed set",
    )
    agreement: float = Field(
        description="share of rows with the same prediction; of words, where each has a label; of several labels, the "
        "share that both say of those that either says"
    )


class LabelFigures(Contract):
    """How well a label is predicted."""

    count: int = Field(description="rows, words or spans that have it")
    recall: Interval
    f1: Interval
    f1_by_language: dict[str, float] = Field(description="of the languages that have it, and all")


class CellFigures(Contract):
    """How well a label is predicted in a language."""

    language: str
    label: str
    rows: int = Field(description="that have it")
    count: int = Field(description="how often they have it: rows, words or spans")
    recall: Interval
    f1: Interval


class LabelAgreement(Contract):
    """How often another model predicts a label where its parent does."""

    rows: int = Field(description="in which the parent predicts it; where rows have several labels, either model")
    agreement: float


Quality = dict[str, dict[str, Interval]]
"""By language, and all; by metric."""
