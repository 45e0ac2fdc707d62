"""The processor that a variant is made for, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from compress.machine import CpuFeatures, cpu_features

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
