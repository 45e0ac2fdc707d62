"""What a training returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.contract import Contract


class TrainingSummary(Contract):
    """How long a model was trained, and how good its best epoch was."""

    epochs: float
    steps: int
    metric: Literal["accuracy", "loss"] = Field(description="of the validation rows; what the best epoch was chosen by")
    best: float
    seconds: float
