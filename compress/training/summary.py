"""What a training returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.contract import Contract
from compress.tasks.contract import TrainingMetric


class TrainingSummary(Contract):
    """How long a model was trained, and how good its best epoch was."""

    epochs: float
    steps: int
    metric: TrainingMetric = Field(description="of the validation rows; what the best epoch was chosen by")
    best: float
    thresholds: list[float] = Field(
        default_factory=list,
        description="tuned on the validation rows: the probability from which on each of several labels is said, or by "
        "how much no answer must beat the best one; empty where there are none",
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(description="that products were computed in")
    seconds: float
