"""The variants of a student: what each is made from, how, for which target, and what it may differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compress.data.stage import DataSet
from compress.recipe.export import Export, Tolerance
from compress.runs.directory import Run
from compress.targets import TARGETS, Target, resolve_target
from export.onnx.fusion import fuse_graphs
from export.onnx.plain import export_onnx
from export.quantize.calibration import calibration_feeds
from export.quantize.fp16 import convert_fp16
from export.quantize.int4 import quantize_int4
from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
from export.quantize.openvino import convert_openvino_int8

ENGINE_SOURCES = {"fp16": "onnx-fp16", "int8": "onnx-static", "fp32": "onnx"}
"""For each precision of an engine the variant that it is built from."""


@dataclass(frozen=True)
class Variant:
    """One form of the student: what it is made from, how, and what it may differ.

    ``write`` fills a folder and returns what the manifest is to say; ``inputs`` is what it depends on besides.
    """

    name: str
    parent: str
    tolerance: Tolerance
    write: Callable[[Path], dict[str, Any]]
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Making:
    """What variants are made with."""

    run: Run
    data: DataSet
    target: Target

    @property
    def static(self) -> Target:
        """What static int8 is made for: a GPU as soon as an engine is built from it, which takes nothing else."""
        settings, target = self.run.recipe.export, self.target
        if settings.tensorrt.enabled and "int8" in settings.tensorrt.precisions and not target.is_gpu:
            return next(known for known in TARGETS.values() if known.is_gpu)
        return target

    @property
    def cpu(self) -> Target:
        """What OpenVINO's variant is made for: it has no GPU's."""
        return resolve_target("auto") if self.target.is_gpu else self.target


def plan_variants(run: Run, data: DataSet, target: Target) -> list[Variant]:
    """The variants of a run in the order in which they are made."""
    making, settings = _Making(run, data, target), run.recipe.export
    limits, calibration = settings.parity, settings.calibration.model_dump()
    fused = _operators_for(target)
    static_inputs = {"target": _place(making.static), **calibration}
    known = [
        Variant("onnx", "student", limits.onnx, partial(_plain, making)),
        Variant("onnx-fused", "onnx", limits.onnx, partial(_fused, making)),
        Variant("onnx-int8", fused, limits.int8, partial(_int8, making), {"target": target.name}),
        Variant(
            "onnx-static", _operators_for(making.static), limits.int8, partial(_static_int8, making), static_inputs
        ),
        Variant("onnx-fp16", "onnx", limits.fp16, partial(_fp16, making)),
        Variant("onnx-int4", fused, limits.int4, partial(_int4, making)),
        Variant(
            "openvino-int8",
            "onnx-fused",
            limits.int8,
            partial(_openvino_int8, making),
            {"target": making.cpu.name, **calibration},
        ),
    ]
    parents = {variant.name: variant.parent for variant in known}
    names = {"onnx", *wanted_variants(settings, target)}
    names |= {parents[name] for name in names}
    return [variant for variant in known if variant.name in names]


def wanted_variants(settings: Export, target: Target) -> set[str]:
    """Those that the recipe names, or else the target's, and what engines are built from."""
    names = set(settings.variants if settings.variants is not None else target.variants)
    if settings.tensorrt.enabled:
        names |= {ENGINE_SOURCES[precision] for precision in settings.tensorrt.precisions}
    return names


def _plain(making: _Making, folder: Path) -> dict[str, Any]:
    return export_onnx(making.run.task, making.run.path_of("student"), folder, making.data.labels)


def _fused(making: _Making, folder: Path) -> dict[str, Any]:
    return {"target": "cpu", "fused": fuse_graphs(making.run.path_of("onnx"), folder)}


def _int8(making: _Making, folder: Path) -> dict[str, Any]:
    target = making.target
    quantize_dynamic_int8(making.run.path_of(_operators_for(target)), folder, target)
    return {"target": target.name, "weights": "7 bit per channel" if target.reduce_range else "8 bit per channel"}


def _static_int8(making: _Making, folder: Path) -> dict[str, Any]:
    run, target, settings = making.run, making.static, making.run.recipe.export.calibration
    feeds = calibration_feeds(run, making.data, run.path_of("onnx"))
    quantize_static_int8(run.path_of(_operators_for(target)), folder, target, feeds, settings.method)
    activations = "signed, symmetric" if target.signed_activations else "unsigned"
    return {"target": _place(target), "calibration": settings.model_dump(), "activations": activations}


def _openvino_int8(making: _Making, folder: Path) -> dict[str, Any]:
    run, settings = making.run, making.run.recipe.export.calibration
    feeds = calibration_feeds(run, making.data, run.path_of("onnx"))
    convert_openvino_int8(run.path_of("onnx-fused"), folder, making.cpu, feeds, settings.method)
    return {"target": making.cpu.name, "calibration": settings.model_dump()}


def _fp16(making: _Making, folder: Path) -> dict[str, Any]:
    convert_fp16(making.run.path_of("onnx"), folder)
    return {"target": "cuda"}


def _int4(making: _Making, folder: Path) -> dict[str, Any]:
    quantize_int4(making.run.path_of(_operators_for(making.target)), folder)
    return {"target": "cpu", "weights": "4 bit in blocks of 32, embeddings 8 bit per token"}


def _operators_for(target: Target) -> str:
    """The variant whose operators suit the target: TensorRT fuses by itself and knows none that are fused."""
    return "onnx" if target.is_gpu else "onnx-fused"


def _place(target: Target) -> str:
    """What a variant that is the same for all GPUs is made for."""
    return "cuda" if target.is_gpu else target.name
