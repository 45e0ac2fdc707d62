"""The processor that a variant is made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A CPU target and what follows from it for int8.

    ``reduce_range`` limits weights to 7 bits: without VNNI, sums of u8 by s8 products saturate at 16 bits on AVX2 and
    AVX-512 (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """

    name: str
    reduce_range: bool


TARGETS = {
    "cpu-avx2": Target("cpu-avx2", reduce_range=True),
    "cpu-avx512": Target("cpu-avx512", reduce_range=True),
    "cpu-vnni": Target("cpu-vnni", reduce_range=False),
    "cpu-arm": Target("cpu-arm", reduce_range=False),
}


def cpu_features() -> dict[str, Any]:
    """What PyTorch's cpuinfo says of this machine's processor."""
    import torch

    return dict(torch.cpu.get_capabilities())


def resolve_target(name: str) -> Target:
    """The named target, or this machine's for ``auto``."""
    return TARGETS[name] if name != "auto" else _this_machine(cpu_features())


def _this_machine(features: dict[str, Any]) -> Target:
    if not str(features.get("architecture", "")).startswith("x86"):
        return TARGETS["cpu-arm"]
    if features.get("avx512_vnni") or features.get("avx_vnni"):
        return TARGETS["cpu-vnni"]
    return TARGETS["cpu-avx512" if features.get("avx512_f") else "cpu-avx2"]
