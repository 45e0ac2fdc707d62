"""Reading the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compress.recipe.teacher import PoolingMode


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


def pooled(states: Tensor, mask: Tensor, mode: PoolingMode) -> Tensor:
    """Sentence vectors, as sentence-transformers makes them of the real tokens' states.

    :param states: Float (rows, tokens, width).
    :param mask: Attention mask (rows, tokens); padding comes last.
    :return: Float (rows, width).
    """
    match mode:
        case "first":
            return states[:, 0]
        case "mean":
            return mean_pooled(states, mask)
        case "max":
            return states.masked_fill(mask[:, :, None] == 0, torch.finfo(states.dtype).min).amax(dim=1)
        case "last":
            places = torch.arange(states.shape[1], device=states.device)
            is_last = (places[None] == mask.sum(dim=1, keepdim=True) - 1).to(states.dtype)
            return (states * is_last[:, :, None]).sum(dim=1)
        case "mean-sqrt":
            return mean_pooled(states, mask) * mask.sum(dim=1, keepdim=True).clamp(min=1).to(states.dtype).sqrt()
        case "weighted-mean":
            places = torch.arange(1, states.shape[1] + 1, device=states.device)
            return mean_pooled(states, mask * places[None])
