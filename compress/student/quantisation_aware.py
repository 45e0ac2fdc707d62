"""Quantisation-aware distillation: the student learns from its teacher with the rounding of int8 in its forward pass.

All is symmetric: weights are rounded per channel, embeddings and activations per token, as `onnx-int8` does it.
Gradients pass the rounding as if it were not there (the straight-through estimator; Jacob et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

_LARGEST, _SMALLEST_SCALE = 127, 1e-8


@contextmanager
def rounding_of_int8(model: nn.Module, reduce_range: bool) -> Iterator[None]:
    """Let every linear layer and embedding of a model compute as in int8 while the block runs; its weights stay whole.

    :param reduce_range: Weights have 7 bits.
    """
    largest = 64 if reduce_range else _LARGEST
    changed = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.forward = partial(_linear, module, largest)  # type: ignore[method-assign]
        elif isinstance(module, nn.Embedding):
            module.forward = partial(_embedding, module)  # type: ignore[method-assign]
        else:
            continue
        changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def rounded_rows(values: Tensor, largest: int) -> Tensor:
    """Float (rows, columns) to integers from ``-largest`` to ``largest``, with a scale for each row."""
    scale = (values.detach().abs().amax(dim=1) / largest).clamp(min=_SMALLEST_SCALE)
    zeros = torch.zeros(len(values), dtype=torch.int32, device=values.device)
    return torch.fake_quantize_per_channel_affine(values, scale, zeros, 0, -largest, largest)


def _linear(module: nn.Linear, largest: int, values: Tensor) -> Tensor:
    return functional.linear(_by_token(values), rounded_rows(module.weight, largest), module.bias)


def _embedding(module: nn.Embedding, numbers: Tensor) -> Tensor:
    rows = functional.embedding(numbers, module.weight, module.padding_idx)
    return _by_token(rows)


def _by_token(values: Tensor) -> Tensor:
    return rounded_rows(values.flatten(0, -2), _LARGEST).view_as(values)
