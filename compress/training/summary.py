"""What a training returns."""

from __future__ import annotations

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
        description="the probability from which on each label is said, tuned on the validation rows; empty where rows "
        "do not have several labels",
    )
    seconds: float
