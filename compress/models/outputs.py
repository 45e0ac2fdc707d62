"""Reading the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass


def outputs_of(output: Any, names: Sequence[str]) -> Tensor:
    """The outputs of a task: the one, or several stacked along a last axis."""
    return output[names[0]] if len(names) == 1 else torch.stack([output[name] for name in names], dim=-1)
