"""What a training computes with: the numbers' precision, and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from compress.recipe.training import Training

ComputePrecision = Literal["fp32", "bf16", "fp16"]


def compute_precision(settings: Training) -> ComputePrecision:
    """What the products of a training are computed in; weights, their sums of gradients and losses are in 32 bits.

    By itself half precision is taken on GPUs alone: on CPUs with AMX or AVX512-BF16 bf16 is faster, but the demo's
    student came out worse.
    """
    if settings.precision != "auto":
        return settings.precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32"


@contextmanager
def threads_for(settings: Training) -> Iterator[None]:
    """Let PyTorch use as many threads as the recipe says while the block runs; where it says nothing, as many as
    before: all processors, or those that a container's limit or ``OMP_NUM_THREADS`` leaves (`compress.threads`)."""
    before = torch.get_num_threads()
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
