"""Parity: how far a variant's outputs are from its parent's on real rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from compress.errors import CompressError
from compress.metrics import agreement
from compress.recipe import Tolerance
from compress.tasks import Prediction


@dataclass(frozen=True)
class Answers:
    """Outputs of a model, one array an example, and its predictions, one a row."""

    outputs: list[np.ndarray]
    predictions: list[Prediction]


@dataclass(frozen=True)
class Parity:
    """Differences of outputs, and the share of rows with the same prediction."""

    rows: int
    max_difference: float
    mean_difference: float
    agreement: float

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def measure_parity(parent: Answers, variant: Answers) -> Parity:
    """Compare what two models answer to the same rows."""
    one, other = (np.concatenate([output.ravel() for output in answers.outputs]) for answers in (parent, variant))
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    same = agreement(parent.predictions, variant.predictions)
    return Parity(len(parent.predictions), float(difference.max()), float(difference.mean()), same)


def check_parity(name: str, parent: str, parity: Parity, tolerance: Tolerance) -> None:
    """Accept a variant or refuse it.

    :raises CompressError: Naming the variant, its parent, the figure and the limit.
    """
    problems = []
    if not parity.max_difference <= tolerance.max_difference:  # also for not-a-number
        problems.append(f"outputs differ by up to {parity.max_difference:.4g} (limit {tolerance.max_difference:g})")
    if parity.agreement < tolerance.agreement:
        problems.append(
            f"{100 * parity.agreement:.2f} % of the predictions agree (limit {100 * tolerance.agreement:g} %)"
        )
    if problems:
        raise CompressError(
            f"{name}: too far from {parent} on {parity.rows} rows: {' and '.join(problems)}; "
            "nothing was written; raise export.parity in the recipe only if you can accept this"
        )
