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
    ones are several times faster. ``like`` is the target whose variants it shares, but for those in bf16, which its
    processor multiplies in. ``generation`` is a GPU's compute capability times ten. ``browser`` is whatever a page is
    opened on: WebAssembly multiplies without saturation where ONNX Runtime is built without relaxed SIMD, but variants
    are compared on machines without VNNI too.
    """

    name: str
    reduce_range: bool = False
    signed_activations: bool = False
    like: str | None = None
    generation: int | None = None
    browser: bool = False

    @property
    def bf16(self) -> bool:
        """Whether variants for it may calculate in bf16."""
        return self.like is not None

    @property
    def kind(self) -> str:
        """The name of the target that its variants in other precisions are for."""
        return self.like or self.name

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
        Target("cpu-avx512-bf16", like="cpu-vnni"),
        Target("cpu-amx", like="cpu-vnni"),
        Target("cpu-arm", signed_activations=True),
        Target("web", reduce_range=True, browser=True),
        *(Target(f"cuda-sm{sm}", signed_activations=True, generation=sm) for sm in _GPU_GENERATIONS),
    )
}


def target_of(features: CpuFeatures) -> Target:
    """What variants for a processor are made for."""
    if not features.architecture.lower().startswith(_X86):
        return TARGETS["cpu-arm"]
    if features.avx512_vnni or features.avx_vnni:
        bf16 = "cpu-avx512-bf16" if features.avx512_bf16 else "cpu-vnni"
        return TARGETS["cpu-amx" if features.amx_bf16 else bf16]
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
    """Whether a variant that was made for a target runs on one of another kind on this machine's processor.

    :param place: What the variant's summary calls its target: ``any``, ``cpu``, ``cuda`` or a target's name.
    """
    if place in ("any", "cpu"):
        return False
    here, made_for = resolve_target("auto"), TARGETS.get(place)
    return made_for is None or made_for.kind != here.kind or (made_for.bf16 and not here.bf16)


def calculates_alike(recorded_on: str, place: str) -> bool:
    """Whether what a variant gave on a target is what it gives on this machine's processor, up to rounding in 32 bits.

    :param place: What the variant was made for; in bf16 each processor adds up in a way of its own.
    """
    here, other, made_for = resolve_target("auto"), TARGETS.get(recorded_on), TARGETS.get(place)
    return recorded_on == here.name or bool(other and other.kind == here.kind and not (made_for and made_for.bf16))


def without_bf16() -> str | None:
    """Why this machine's processor cannot run what calculates in bf16, in words; none where it can."""
    if resolve_target("auto").bf16:
        return None
    return f"it calculates in bf16, which {cpu_features().cpu_name} has no instructions for (AVX512_BF16 or AMX_BF16)"
