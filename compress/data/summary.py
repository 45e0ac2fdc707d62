"""What the data stage returns."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.runs.manifest import Stage


class SplitSummary(Contract):
    """Rows of one split that were kept, and how many were dropped for which reason."""

    rows: int
    dropped: dict[str, int]
    negatives: int = Field(0, description="of the rows such as `data.negatives` asks for")


class SharedTexts(Contract):
    """Texts, and values of the field `parallel`, that stand in two splits."""

    first: str
    second: str
    texts: int
    parallel: int = 0


class DataSummary(Contract):
    """What was read, dropped and found."""

    splits: dict[str, SplitSummary]
    labels: dict[str, int] = Field(description="rows (or words) of the train split by label; empty where there is none")
    languages: dict[str, int] = Field(description="rows of the train split by language")
    plain_text: dict[str, int] = Field(default_factory=dict, description="other texts by language")
    shared_texts: list[SharedTexts]
    labelled: bool = Field(True, description="false: rows have no labels; what the model says takes their place")


class AnswersSummary(Contract):
    """Rows without labels that were given those of the model: what others lose is told against it."""

    rows: dict[str, int] = Field(description="by split")
    dropped_empty: int = Field(description="rows of which the model says nothing")


DATA = Stage("data", DataSummary)
ANSWERS = Stage("answers", AnswersSummary)
