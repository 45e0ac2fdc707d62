"""Reading the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def outputs_of(output: Any, names: Sequence[str]) -> Tensor:
    """The outputs of a task: the one, or several stacked along a last axis."""
    return output[names[0]] if len(names) == 1 else torch.stack([output[name] for name in names], dim=-1)


def mean_pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Sentence vectors: the mean of the real tokens' states.

    :param states: Float (rows, tokens, width).
    :return: Float (rows, width).
    """
    weight = mask.to(states.dtype)[:, :, None]
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
