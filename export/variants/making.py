"""Making variants: the one way from a student to each of its forms. The export stage and the search both go it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from compress.console import say, working
from compress.data.stage import DataSet
from compress.errors import RejectedVariantError
from compress.models.sentence_layout import keep_length
from compress.recipe.export import Calibration, Export, TensorRT
from compress.runs.directory import Run
from compress.student.summary import exported_name
from compress.targets import TARGETS, Target, resolve_target
from compress.tasks.contract import Task
from compress.variants.registry import (
    ENGINES,
    FUSED,
    PLAIN,
    STUDENT_NAME,
    Maker,
    Runtime,
    Variant,
    default_variants,
    with_parents,
)
from export.onnx.fusion import ATTENTION_OPSET, fuse_graphs
from export.onnx.graphs import Announce
from export.onnx.merged import merge_decoders
from export.onnx.plain import export_onnx
from export.quantize.calibration import calibration_of
from export.quantize.embeddings import EmbeddingBits
from export.quantize.fp16 import convert_fp16
from export.quantize.int4 import quantize_int4
from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
from export.quantize.openvino import convert_openvino_bf16, convert_openvino_int8
from export.quantize.ranges import Calibrate
from export.variants.ranges import HalfPrecision
from export.variants.summary import Made


@dataclass(frozen=True)
class Ingredients:
    """What variants are made of.

    ``student`` is a ``save_pretrained`` folder, of the student or of a model that is taken as it is, ``plain`` and
    ``fused`` are folders with its graphs; a folder need not be there before a variant is made from it. ``calibrate``
    gives what shows a graph's values on the calibration rows; only static int8 asks for it. ``excluded`` names layers
    that stay in 32 bits; ``half`` tells what half precision can hold, for variants that calculate in it.
    ``max_length`` is how many tokens of a text are read. ``opset`` is that of all graphs; none: the usual ones.
    ``embedding_bits`` are those of the tokens' table where weights are integers.
    ``announce`` says what is going on while a block runs. Code
    that lies beside the student runs where the run ``trusts_code``.
    """

    task: Task
    labels: list[str]
    student: Path
    plain: Path
    fused: Path
    target: Target
    calibration: Calibration
    calibrate: Callable[[], Calibrate]
    max_length: int
    excluded: tuple[str, ...] = ()
    half: HalfPrecision | None = None
    announce: Callable[[str], AbstractContextManager[object]] = working
    trusts_code: bool = False
    opset: int | None = None
    embedding_bits: EmbeddingBits = 8

    def parent_of(self, variant: Variant) -> Path:
        """The folder that a variant is made from."""
        folders: dict[str, Path] = {STUDENT_NAME: self.student, PLAIN.name: self.plain, FUSED.name: self.fused}
        return folders[variant.parent_for(self.target)]

    def announcing(self, what: str) -> Announce:
        """Says of a graph, by its file's name, what is done to it."""
        return lambda graph: self.announce(f"{what} {graph}")


def ingredients_of(run: Run, data: DataSet, target: Target) -> Ingredients:
    """What the variants of a run are made of."""
    return Ingredients(
        task=run.task,
        labels=data.labels,
        student=run.folder / exported_name(run),
        plain=run.folder / PLAIN.name,
        fused=run.folder / FUSED.name,
        target=target,
        calibration=run.recipe.export.calibration,
        calibrate=lambda: calibration_of(run, data, run.path_of(PLAIN.name)),
        max_length=run.recipe.data.max_length,
        trusts_code=run.trusts_code,
        opset=run.recipe.export.opset,
        embedding_bits=run.recipe.export.embedding_bits,
    )


def planned_variants(settings: Export, target: Target, *, writes: bool = False) -> list[Variant]:
    """What a run's export makes, in that order: what the recipe names, or else what its target is best served with,
    what engines are built from, and what all these are made from; engines and what a search chooses come after.

    :param writes: Of a model that writes text.
    """
    usual = [found.name for found in default_variants(target, writes=writes)]
    named = settings.variants if settings.variants is not None else usual
    sources = [engine.parent for engine in wanted_engines(settings.tensorrt)]
    return with_parents({PLAIN.name, *named, *sources}, lambda variant: variant.parent_for(target_for(variant, target)))


def wanted_engines(settings: TensorRT) -> list[Variant]:
    """The engines that the recipe asks for."""
    return [ENGINES[precision] for precision in settings.precisions] if settings.enabled else []


def target_for(variant: Variant, target: Target) -> Target:
    """What a variant is made for where the run's target is given: what runs on another kind of processor alone is made
    for this machine's, or for any GPU."""
    if target.is_gpu and "GPU" not in variant.runs_on and variant.gpu_parent is None:
        return resolve_target("auto")
    if not target.is_gpu and "CPU" not in variant.runs_on:
        return next(known for known in TARGETS.values() if known.is_gpu)
    return target


def place_of(variant: Variant, target: Target) -> str:
    """What a summary says that a variant is for: ``any``, ``cpu``, ``cuda`` (all GPUs alike) or a target's name, of
    several for which the files are the same that of their kind."""
    if variant.follows_target:
        return target.name if variant.precision == "bf16" else target.kind
    return "any" if len(variant.runs_on) > 1 else "cpu" if "CPU" in variant.runs_on else "cuda"


def make(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    """Fill an empty folder with a variant's graphs, configuration and tokenizer.

    :raises CompressError: If the model cannot be exported, calibration rows will not do, or a library is missing.
    """
    made = MAKERS[variant.made_by, variant.runtime](variant, ingredients, folder)
    if ingredients.task.GENERATES and variant.runtime == "ONNX Runtime":
        merge_decoders(folder)
    if ingredients.task.VECTORS or ingredients.task.RANKS:
        keep_length(folder, ingredients.max_length)
    return made


def _plain(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    announce = ingredients.announcing(f"{variant.name}:")
    source, labels = ingredients.parent_of(variant), ingredients.labels
    trusts_code, opset = ingredients.trusts_code, ingredients.opset
    facts = export_onnx(ingredients.task, source, folder, labels, announce, trusts_code, opset)
    return Made(form=variant.name, target=place_of(variant, ingredients.target), graph=facts)


def _fused(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    opset, announce = ingredients.opset, ingredients.announcing(f"{variant.name}: fusing")
    if opset is not None and opset < ATTENTION_OPSET:
        say(f"{variant.name}: attention is one operator from opset {ATTENTION_OPSET} on: in {opset} it stays as it is")
    attentions = fuse_graphs(ingredients.parent_of(variant), folder, announce, opset)
    return Made(form=variant.name, target=place_of(variant, ingredients.target), fused_attentions=attentions)


def _ranges_at_run_time(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    source, target, by_token = ingredients.parent_of(variant), ingredients.target, variant.made_by == "int8-by-token"
    announce = ingredients.announcing(f"{variant.name}: quantising")
    bits, excluded = ingredients.embedding_bits, ingredients.excluded
    quantize_dynamic_int8(source, folder, target, excluded, announce, by_token=by_token, embedding_bits=bits)
    return Made(
        form=variant.name,
        target=place_of(variant, target),
        weights=_weights_told(target, bits),
        activations=f"at run time, by {'token' if by_token else 'batch'}",
    )


def _static_int8(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    if ingredients.half is not None and ingredients.half.problem:
        raise RejectedVariantError(
            f"{variant.name}: {ingredients.half.problem}: a GPU would calculate with infinity there; nothing was "
            "written; leave it out (--variants), onnx-fp16 keeps what is too large in 32 bits"
        )
    source, target = ingredients.parent_of(variant), ingredients.target
    calibrate, method = _calibrate(variant, ingredients), ingredients.calibration.method
    announce = ingredients.announcing(f"{variant.name}: calibrating and quantising")
    bits = ingredients.embedding_bits
    quantize_static_int8(source, folder, target, calibrate, method, ingredients.excluded, announce, bits)
    return Made(
        form=variant.name,
        target=place_of(variant, target),
        weights=None if target.is_gpu else _weights_told(target, bits),
        calibration=ingredients.calibration,
        activations="signed, symmetric" if target.signed_activations else "unsigned",
    )


def _openvino_int8(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    source, target = ingredients.parent_of(variant), ingredients.target
    calibrate, method = _calibrate(variant, ingredients), ingredients.calibration.method
    announce = ingredients.announcing(f"{variant.name}: calibrating and quantising")
    bits = ingredients.embedding_bits
    convert_openvino_int8(source, folder, target, calibrate, method, ingredients.excluded, announce, bits)
    return Made(form=variant.name, target=place_of(variant, target), calibration=ingredients.calibration)


def _openvino_bf16(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    convert_openvino_bf16(ingredients.parent_of(variant), folder, ingredients.announcing(f"{variant.name}: converting"))
    return Made(form=variant.name, target=place_of(variant, ingredients.target))


def _fp16(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    announce = ingredients.announcing(f"{variant.name}: converting")
    half = ingredients.half
    if half is not None and half.problem:
        say(f"{variant.name}: {half.problem}: {len(half.exact):,} nodes stay in 32 bits")
    exact = half.exact if half is not None else ()
    convert_fp16(ingredients.parent_of(variant), folder, ingredients.excluded, announce, exact)
    return Made(form=variant.name, target=place_of(variant, ingredients.target))


def _int4(variant: Variant, ingredients: Ingredients, folder: Path) -> Made:
    announce = ingredients.announcing(f"{variant.name}: quantising")
    bits = ingredients.embedding_bits
    quantize_int4(ingredients.parent_of(variant), folder, ingredients.excluded, announce, bits)
    weights = f"4 bit in blocks of 32, embeddings {_told(bits)}"
    return Made(form=variant.name, target=place_of(variant, ingredients.target), weights=weights)


MAKERS: Mapping[tuple[Maker, Runtime], Callable[[Variant, Ingredients, Path], Made]] = {
    ("export", "ONNX Runtime"): _plain,
    ("fuse", "ONNX Runtime"): _fused,
    ("int8-by-token", "ONNX Runtime"): _ranges_at_run_time,
    ("dynamic-int8", "ONNX Runtime"): _ranges_at_run_time,
    ("static-int8", "ONNX Runtime"): _static_int8,
    ("static-int8", "OpenVINO"): _openvino_int8,
    ("bf16", "OpenVINO"): _openvino_bf16,
    ("fp16", "ONNX Runtime"): _fp16,
    ("int4", "ONNX Runtime"): _int4,
}
"""What makes a variant, by ``made_by`` and ``runtime`` of the registry; searches and engines have their own stages."""


def _weights_told(target: Target, bits: EmbeddingBits) -> str:
    """Of int8 for a CPU, for people."""
    return f"{7 if target.reduce_range else 8} bit per channel, embeddings {_told(bits)}"


def _told(bits: EmbeddingBits) -> str:
    """Of embeddings, for people."""
    return f"{bits} bit per token{' and column' if bits == 4 else ''}"


def _calibrate(variant: Variant, ingredients: Ingredients) -> Calibrate:
    with ingredients.announce(f"{variant.name}: preparing {ingredients.calibration.rows} calibration rows"):
        return ingredients.calibrate()
