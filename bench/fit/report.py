"""What was found while a student was fitted: every candidate, what it costs and loses, and the one that was chosen."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field

from bench.fit.bounds import FitBounds, Objective
from compress.contract import Contract
from compress.metrics.figures import LanguageLosses
from compress.recipe.student import Initialization
from compress.runs.files import write_json
from compress.runs.manifest import Stage


class FitCandidate(Contract):
    """The shape of a student, and where its first weights come from."""

    layers: int = Field(description="0: a static student, whose vectors are `hidden_size` long")
    hidden_size: int
    heads: int
    feed_forward_size: int
    tokens: int | None = Field(None, description="most of the teacher's that are kept; null: all")
    every_nth_layer: int | None = Field(None, description="of the teacher's, as wide as they are")
    initialization: Initialization

    @property
    def name(self) -> str:
        """For people, and for files: layers, width, width of the feed-forward part, and tokens if not all."""
        layered = f"{self.layers}x{self.hidden_size}x{self.feed_forward_size}"
        shape = f"static-{self.hidden_size}" if self.is_static else layered
        return shape if self.tokens is None else f"{shape}-{self.tokens}"

    @property
    def is_static(self) -> bool:
        """Whether it is a table of token vectors."""
        return self.layers == 0

    @property
    def most_tokens(self) -> float:
        """Of the teacher's."""
        return math.inf if self.tokens is None else self.tokens

    def covers(self, other: FitCandidate) -> bool:
        """Whether it is at least as large as another one in every way: it is no faster then, and no smaller."""
        return (
            self.layers >= other.layers
            and self.hidden_size >= other.hidden_size
            and self.feed_forward_size >= other.feed_forward_size
            and self.most_tokens >= other.most_tokens
        )


class FitWeights(Contract):
    """Numbers of weights."""

    embeddings: int
    others: int


class FitCost(Contract):
    """What a candidate costs in the form that is deployed."""

    p50_ms: float = Field(description="median latency at batch 1")
    bytes: int
    noisy: bool = Field(False, description="other work had the processor while it was timed")
    estimated: bool = Field(False, description="by what other candidates were measured to cost; it was not made")


class FitRung(Contract):
    """What a candidate has come to after a part of its training, in the form that is deployed."""

    epochs: float
    seconds: float = Field(description="of this part of the training, and of making the form")
    losses: LanguageLosses = Field(description="against the teacher, on validation rows")


class FitTrial(Contract):
    """A candidate and all that was found of it."""

    name: str
    candidate: FitCandidate
    weights: FitWeights
    cost: FitCost
    rungs: list[FitRung] = Field(default_factory=list)
    outcome: str = Field(description="what became of it, for people")
    frontier: bool = Field(
        False, description="trained to its end, and no other such beats it in latency, size and worst-language drop"
    )
    chosen: bool = False


class FitConfirmation(Contract):
    """The chosen student, trained, on rows that nothing was chosen by, and timed once more."""

    losses: LanguageLosses = Field(description="against the teacher, on the test rows")
    cost: FitCost
    holds: bool = Field(description="latency and size, and the drop if it is bounded, are within the bounds here too")


class FitReport(Contract):
    """`fit.json`: what `compress fit` found."""

    bounds: FitBounds
    objective: Objective
    target: str
    form: str = Field(description="the variant that candidates were measured and judged in")
    metric: str
    rows: int = Field(description="validation rows that candidates were judged by")
    epochs: list[float] = Field(description="after which candidates were compared; the last: the whole training")
    trials: list[FitTrial] = Field(description="the fastest first")
    fits: bool = Field(description="whether a student meets all bounds; else the chosen one is the nearest")
    why: str = Field(description="why it was chosen, or what was nearest")
    confirmation: FitConfirmation | None = Field(None, description="null: nothing was trained")

    @property
    def chosen(self) -> FitTrial | None:
        """The student that was chosen, or is nearest; none where none was trained."""
        return next((trial for trial in self.trials if trial.chosen), None)


FIT = Stage("fit", FitReport)


def write_fit(report: FitReport, folder: Path) -> None:
    """Write ``fit.json`` into a folder."""
    write_json(folder / "fit.json", report.model_dump(mode="json"))
