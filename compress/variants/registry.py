"""The variants: every deployable form that a student is turned into. Nothing else compares their names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from compress.targets import Target

VariantName = Literal[
    "onnx",
    "onnx-fused",
    "onnx-int8",
    "onnx-static",
    "onnx-dynamic",
    "onnx-static-gpu",
    "openvino-int8",
    "openvino-bf16",
    "onnx-int4",
    "onnx-fp16",
    "onnx-chosen",
    "tensorrt-fp16",
    "tensorrt-int8",
    "tensorrt-fp32",
]
SelectableName = Literal[
    "onnx-fused",
    "onnx-int8",
    "onnx-static",
    "onnx-dynamic",
    "onnx-static-gpu",
    "openvino-int8",
    "openvino-bf16",
    "onnx-int4",
    "onnx-fp16",
]
"""Variants that a recipe can name: of the others ``onnx`` is always made, and the rest when it is asked for."""

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
EnginePrecision = Literal["fp16", "int8", "fp32"]
LimitsOf = Literal["onnx", "int8", "int4", "fp16", "bf16"]
"""Whose limits of ``export.parity`` hold for a variant."""

BrowserPrecision = Literal["fp32", "q8", "fp16", "q4"]
"""What transformers.js calls the precision of a variant; its file's name follows."""
Maker = Literal[
    "export", "fuse", "int8-by-token", "dynamic-int8", "static-int8", "int4", "fp16", "bf16", "search", "engine"
]
Runtime = Literal["PyTorch", "ONNX Runtime", "OpenVINO", "TensorRT", "TensorRT-RTX"]
Processor = Literal["CPU", "GPU"]
TargetKind = Literal["CPU", "GPU", "browser"]
STUDENT_NAME: Literal["student"] = "student"
_EVERYWHERE: tuple[Processor, ...] = ("CPU", "GPU")
OLDEST_OPSET, NEWEST_OPSET = 18, 25
"""What graphs are written in: from what the exporter begins with to what it can convert that to."""


@dataclass(frozen=True)
class Variant:
    """One deployable form of a student.

    ``parent`` is what it is made from and compared with, ``gpu_parent`` the same where the target is a GPU, if that
    differs. ``made_by`` names the maker (`export.variants.making`), ``runtime`` what opens it. ``default_for`` are the
    kinds of target that are best served with it. ``calibrated`` says that ranges are found on real rows,
    ``follows_target`` that another target of the same kind gets other files, ``searched`` that a search within a budget
    tries it. ``browser`` says as what transformers.js opens it, if a browser runs it well. ``first_opset`` is that of
    the first ONNX Runtime which has the operators of its own that it is made of.
    """

    name: VariantName
    parent: VariantName | Literal["student"]
    precision: Precision
    limits: LimitsOf
    made_by: Maker
    runtime: Runtime
    runs_on: tuple[Processor, ...]
    purpose: str
    gpu_parent: VariantName | None = None
    default_for: tuple[TargetKind, ...] = ()
    calibrated: bool = False
    follows_target: bool = False
    searched: bool = False
    browser: BrowserPrecision | None = None
    first_opset: int = OLDEST_OPSET

    def is_in(self, opset: int | None) -> bool:
        """Whether every ONNX Runtime that reads graphs of an opset runs it too; none: the usual opset."""
        return opset is None or opset >= self.first_opset

    def parent_for(self, target: Target) -> VariantName | Literal["student"]:
        """The variant that it is made from for a target, or the student."""
        return self.gpu_parent if target.is_gpu and self.gpu_parent else self.parent

    @property
    def is_half_precision(self) -> bool:
        """Whether ONNX Runtime calculates in half precision with it, what is not in int8."""
        return self.runs_on == ("GPU",) and not self.is_engine

    @property
    def is_engine(self) -> bool:
        """Whether it is built for GPUs by TensorRT."""
        return self.made_by == "engine"


_ALL = (
    Variant(
        "onnx", "student", "fp32", "onnx", "export", "ONNX Runtime", _EVERYWHERE,
        "32 bits, standard operators (opset 20, or `export.opset`); the root of all others",
        browser="fp32",
    ),
    Variant(
        "onnx-fused", "onnx", "fp32", "onnx", "fuse", "ONNX Runtime", ("CPU",),
        "attention as one operator, residual sums apart from their norms: the fastest form in 32 bits, same answers",
        default_for=("CPU",), searched=True,
    ),
    Variant(
        "onnx-int8", "onnx-fused", "int8", "int8", "int8-by-token", "ONNX Runtime", ("CPU",),
        "int8 with weights per channel, embeddings and activations per token, at run time; no calibration",
        gpu_parent="onnx", default_for=("CPU", "browser"), follows_target=True, searched=True, browser="q8",
    ),
    Variant(
        "onnx-static", "onnx-fused", "int8", "int8", "static-int8", "ONNX Runtime", ("CPU",),
        "int8 with fixed ranges, found on real rows, on x86 with unsigned activations",
        default_for=("CPU",), calibrated=True, follows_target=True, searched=True,
    ),
    Variant(
        "onnx-dynamic", "onnx-fused", "int8", "int8", "dynamic-int8", "ONNX Runtime", ("CPU",),
        "int8 with a range for all of a batch: a row's answer depends on what stands beside it; no calibration",
        gpu_parent="onnx", follows_target=True,
    ),
    Variant(
        "onnx-static-gpu", "onnx", "int8", "int8", "static-int8", "ONNX Runtime", ("GPU",),
        "int8 with fixed ranges, signed and symmetric as TensorRT takes it, the rest in half precision",
        default_for=("GPU",), calibrated=True,
    ),
    Variant(
        "onnx-fp16", "onnx", "fp16", "fp16", "fp16", "ONNX Runtime", ("GPU",),
        "half precision",
        default_for=("GPU", "browser"), browser="fp16",
    ),
    Variant(
        "onnx-int4", "onnx-fused", "int4", "int4", "int4", "ONNX Runtime", ("CPU",),
        "weights in 4 bits, embeddings in 8: for memory, not for speed",
        gpu_parent="onnx", searched=True, browser="q4", first_opset=20,  # MatMulNBits: ONNX Runtime 1.17
    ),
    Variant(
        "openvino-int8", "onnx-fused", "int8", "int8", "static-int8", "OpenVINO", ("CPU",),
        "static int8 for OpenVINO: the faster one for batches of long texts",
        calibrated=True, follows_target=True, searched=True,
    ),
    Variant(
        "openvino-bf16", "onnx", "bf16", "bf16", "bf16", "OpenVINO", ("CPU",),
        "bf16 for OpenVINO, on processors that multiply in it (AVX512_BF16, AMX)",
        follows_target=True, searched=True,
    ),
    Variant(
        "onnx-chosen", "onnx", "int8", "int8", "search", "ONNX Runtime", ("CPU",),
        "what `--budget` found: the fastest form within a loss of accuracy",
        follows_target=True,
    ),
    Variant(
        "tensorrt-fp16", "onnx-fp16", "fp16", "fp16", "engine", "TensorRT", ("GPU",),
        "an engine (`--trt`)",
        follows_target=True,
    ),
    Variant(
        "tensorrt-int8", "onnx-static-gpu", "int8", "int8", "engine", "TensorRT", ("GPU",),
        "an engine (`--trt --precision int8`)",
        follows_target=True,
    ),
    Variant(
        "tensorrt-fp32", "onnx", "fp32", "fp16", "engine", "TensorRT", ("GPU",),
        "an engine (`--trt --precision fp32`), in which TF32 may be used",
        follows_target=True,
    ),
)  # fmt: skip
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _ALL}
"""Every variant by its name, in the order in which they are made and reported."""

ENGINES: Mapping[EnginePrecision, Variant] = {
    "fp16": VARIANTS["tensorrt-fp16"],
    "int8": VARIANTS["tensorrt-int8"],
    "fp32": VARIANTS["tensorrt-fp32"],
}
"""The engine of each precision."""

PLAIN, FUSED, CHOSEN = VARIANTS["onnx"], VARIANTS["onnx-fused"], VARIANTS["onnx-chosen"]
INT8, STATIC_INT8 = VARIANTS["onnx-int8"], VARIANTS["onnx-static"]


def default_variants(target: Target, *, writes: bool = False) -> list[Variant]:
    """What is made for a target where nothing else is asked for, beside the plain graph.

    :param writes: Of a model that writes text: it has to write all calibration rows to be calibrated, so that a form of
        the same precision that needs none is enough.
    """
    kind = "browser" if target.browser else "GPU" if target.is_gpu else "CPU"
    found = [variant for variant in _ALL if kind in variant.default_for]
    free = {variant.precision for variant in found if not variant.calibrated}
    return [variant for variant in found if not (writes and variant.calibrated and variant.precision in free)]


def with_parents(
    names: Collection[str], parent_of: Callable[[Variant], str] = lambda variant: variant.parent
) -> list[Variant]:
    """The named variants and all that they are made from, in the order in which they are made.

    :param parent_of: What each is made from; left out: what it is made from on a CPU.
    """
    wanted = set(names)
    for variant in reversed(_ALL):
        if variant.name in wanted:
            wanted.add(parent_of(variant))
    return [variant for variant in _ALL if variant.name in wanted]


def variants_table() -> Sequence[str]:
    """The variants for people, as lines of a Markdown table."""
    lines = ["| variant | made from | runs on | what for |", "|---|---|---|---|"]
    for variant in _ALL:
        runs_on = ", ".join(variant.runs_on)
        lines.append(f"| `{variant.name}` | `{variant.parent}` | {runs_on} | {variant.purpose} |")
    return lines
