"""What a training computes with: the numbers' precision, and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from compress.machine import cpu_features

if TYPE_CHECKING:
    from compress.recipe.training import Training

ComputePrecision = Literal["fp32", "bf16", "fp16"]


def compute_precision(settings: Training) -> ComputePrecision:
    """What the products of a training are computed in; weights, their sums of gradients and losses are in 32 bits.

    By itself half precision is taken on GPUs alone: on some CPUs bf16 is faster, but the demo's student came out worse.
    bf16 is taken where `takes_bf16` says so, else 32 bits.
    """
    if settings.precision != "auto":
        return "bf16" if settings.precision == "bf16" and takes_bf16() else "fp32"
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32"


def takes_bf16() -> bool:
    """Whether bf16 is computed where it is asked for: on GPUs, and on processors that are faster with it."""
    return torch.cuda.is_available() or cpu_features().against_bf16 is None


def told_without_bf16(title: str) -> str:
    """That 32 bits take the place of bf16, and why."""
    return f"{title}: computed in 32 bits: {cpu_features().cpu_name} {cpu_features().against_bf16}"


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
