"""The processor that a variant is made for, and what follows from it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_X86 = ("x86", "amd64", "i386", "i686")


@dataclass(frozen=True)
class Target:
    """A processor and what follows from it for the variants.

    ``reduce_range`` limits int8 weights to 7 bits: without VNNI, sums of u8 by s8 products saturate at 16 bits on AVX2
    and AVX-512 (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    ``signed_activations`` is what static int8 uses: TensorRT and ARM want signed and symmetric values, on x86 unsigned
    ones are several times faster. ``generation`` is a GPU's compute capability times ten.
    """

    name: str
    reduce_range: bool = False
    signed_activations: bool = False
    generation: int | None = None

    @property
    def is_gpu(self) -> bool:
        """Whether variants are for a GPU; others have operators fused for ONNX Runtime on the CPU."""
        return self.generation is not None


_GPU_GENERATIONS = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120)
TARGETS = {
    target.name: target
    for target in (
        Target("cpu-avx2", reduce_range=True),
        Target("cpu-avx512", reduce_range=True),
        Target("cpu-vnni"),
        Target("cpu-arm", signed_activations=True),
        *(Target(f"cuda-sm{sm}", signed_activations=True, generation=sm) for sm in _GPU_GENERATIONS),
    )
}


@dataclass(frozen=True)
class CpuFeatures:
    """A processor: its architecture as `platform.machine` tells it, its name, and instructions that matter here."""

    architecture: str
    cpu_name: str
    avx2: bool = False
    avx512_f: bool = False
    avx512_vnni: bool = False
    avx_vnni: bool = False
    avx512_bf16: bool = False
    amx_int8: bool = False

    @property
    def present(self) -> list[str]:
        """Names of the instructions that it has."""
        return [field.name for field in fields(self) if getattr(self, field.name) is True]


@cache
def cpu_features() -> CpuFeatures:
    """This machine's processor, by what Linux says of it.

    Read from there, as whoever verifies or serves a bundle has no PyTorch; archspec knows microarchitectures, but does
    not tell which instructions are there. On other systems no instructions are known, which gives the careful target.
    """
    text = _CPUINFO.read_text("utf-8", errors="replace") if _CPUINFO.exists() else ""
    return parse_cpuinfo(text, platform.machine())


def parse_cpuinfo(text: str, architecture: str) -> CpuFeatures:
    """The first processor of ``/proc/cpuinfo``.

    :param architecture: As `platform.machine` tells it.
    """
    first = (line.partition(":") for line in text.strip().partition("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, _, value in first}
    flags = set(told.get("flags", "").split())
    return CpuFeatures(
        architecture,
        told.get("model name") or platform.processor() or architecture,
        avx2="avx2" in flags,
        avx512_f="avx512f" in flags,
        avx512_vnni="avx512_vnni" in flags,
        avx_vnni="avx_vnni" in flags,
        avx512_bf16="avx512_bf16" in flags,
        amx_int8="amx_int8" in flags,
    )


def gpus() -> list[str]:
    """Names, compute capabilities and memory of the GPUs as NVIDIA's driver tells them, whatever is installed."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run(  # noqa: S603
        [program, "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []


def target_of(features: CpuFeatures) -> Target:
    """What variants for a processor are made for."""
    if not features.architecture.lower().startswith(_X86):
        return TARGETS["cpu-arm"]
    if features.avx512_vnni or features.avx_vnni:
        return TARGETS["cpu-vnni"]
    return TARGETS["cpu-avx512" if features.avx512_f else "cpu-avx2"]


def resolve_target(name: str) -> Target:
    """The named target, or this machine's processor for ``auto``."""
    return TARGETS[name] if name != "auto" else target_of(cpu_features())


def is_for_gpu(place: str) -> bool:
    """Whether a variant was made for GPUs.

    :param place: What its summary calls its target; of engines their GPU generations, as ``sm86, sm89``.
    """
    return place.startswith(("cuda", "sm"))


def is_elsewhere(place: str) -> bool:
    """Whether a variant that was made for a target runs on another one when it runs on this machine's processor.

    :param place: What the variant's summary calls its target: ``any``, ``cpu``, ``cuda`` or a target's name.
    """
    return place not in ("any", "cpu", resolve_target("auto").name)
