"""Quantisation-aware distillation: the student learns from its teacher with the rounding of int8 in its forward pass.

Weights are rounded per channel (symmetric), embeddings per token, activations per batch as dynamic int8 does it
(unsigned, from their smallest to their largest value). Gradients pass the rounding as if it were not there (the
straight-through estimator; Jacob et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST_SCALE = 1e-8


@contextmanager
def rounding_of_int8(model: nn.Module, reduce_range: bool) -> Iterator[None]:
    """Let every linear layer and embedding of a model compute as in int8 while the block runs; its weights stay whole.

    :param reduce_range: Weights have 7 bits.
    """
    largest = 63 if reduce_range else 127
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


def rounded_activations(values: Tensor) -> Tensor:
    """Float tensor to 256 steps between its smallest and its largest value, zero among them (DynamicQuantizeLinear)."""
    low, high = torch.aminmax(values.detach())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / 255).clamp(min=_SMALLEST_SCALE)
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)


def rounded_rows(values: Tensor, largest: int) -> Tensor:
    """Float (rows, columns) to integers from ``-largest`` to ``largest``, with a scale for each row."""
    scale = (values.detach().abs().amax(dim=1) / largest).clamp(min=_SMALLEST_SCALE)
    zeros = torch.zeros(len(values), dtype=torch.int32, device=values.device)
    return torch.fake_quantize_per_channel_affine(values, scale, zeros, 0, -largest, largest)


def _linear(module: nn.Linear, largest: int, values: Tensor) -> Tensor:
    return functional.linear(rounded_activations(values), rounded_rows(module.weight, largest), module.bias)


def _embedding(module: nn.Embedding, numbers: Tensor) -> Tensor:
    rows = functional.embedding(numbers, module.weight, module.padding_idx)
    return rounded_rows(rows.flatten(0, -2), 127).view_as(rows)
