"""Figures with their intervals, as reports hold them."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract


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


class ModelLosses(LanguageLosses):
    """The same, what labels lose, and how often the two models agree."""

    labels: dict[str, Loss] = Field(description="of the recall of each label; empty where they are no closed set")
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


class LabelAgreement(Contract):
    """How often another model predicts a label where its parent does."""

    rows: int = Field(description="in which the parent predicts it; where rows have several labels, either model")
    agreement: float


Quality = dict[str, dict[str, Interval]]
"""By language, and all; by metric."""
