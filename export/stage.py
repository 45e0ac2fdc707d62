"""The export stages: one folder a variant, each accepted only if it agrees with its parent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from compress.console import say
from compress.data.encode import spread_over_languages
from compress.data.rows import Row
from compress.data.stage import DataSet, load_data
from compress.errors import CompressError
from compress.generation import Search
from compress.inference import load_predict, openvino_core, predict_examples
from compress.models import load_tokenizer
from compress.recipe_export import Export, Tolerance
from compress.run import Run, run_stage
from compress.target import TARGETS, Target, resolve_target
from compress.tasks import Example, Task
from export.calibration import calibration_feeds
from export.fuse import fuse_graphs
from export.openvino import convert_openvino_int8
from export.parity import Answers, check_parity, log_probabilities_of_labels, measure_parity
from export.quantize import convert_fp16, quantize_dynamic_int8, quantize_int4, quantize_static_int8
from export.to_onnx import export_onnx

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENGINE_SOURCES = {"fp16": "onnx-fp16", "int8": "onnx-static", "fp32": "onnx"}
"""For each precision of an engine the variant that it is built from."""


GRAPH_FILES = ("*.onnx", "*.onnx.data", "openvino_model.*")


@dataclass(frozen=True)
class Sample:
    """Real rows for parity, drawn evenly over the languages from the validation split."""

    task: Task
    rows: list[Row]
    examples: list[Example]
    labels: list[str]
    tokenizer: PreTrainedTokenizerBase
    search: Search

    def answers(self, folder: Path) -> Answers:
        """What the model in a folder says about the rows."""
        predict, pad_id = load_predict(folder, self.task, self.search), self.tokenizer.pad_token_id
        outputs = predict_examples(predict, self.task, self.examples, pad_id)
        predictions = self.task.decode(outputs, self.examples, self.rows, self.labels, self.tokenizer)
        if self.task.GENERATES:  # what is written differs from the first other token on: the rows' own text is rated
            outputs = log_probabilities_of_labels(folder, self.task, self.examples, pad_id)
        return Answers(outputs, predictions)


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


def run_export_stages(run: Run) -> dict[str, Any]:
    """Write ``onnx/``, the variants that the target is best served with or the recipe names, and engines if wanted.

    :return: For each variant its summary: parity, bytes, and what it was made for.
    """
    data, settings = load_data(run), run.recipe.export
    target = resolve_target(settings.target)
    # What cannot be done is said before any work is.
    if "openvino-int8" in wanted_variants(settings, target):
        if run.task.GENERATES:
            raise CompressError("export.variants: openvino-int8 is for models that read, the task is translation")
        openvino_core()
    if settings.budget.points is not None:
        from export.search import STAGE, check_target, run_search_stage

        check_target(target)
    if settings.tensorrt.enabled:
        from export.tensorrt import check_options, choose_builder

        check_options(choose_builder(), settings.tensorrt)
    sample = _sample(run, data)
    done = {variant.name: _run_variant(run, variant, sample) for variant in plan_variants(run, data, target)}
    if settings.budget.points is not None:
        done[STAGE] = run_search_stage(run, sample)
    if settings.tensorrt.enabled:
        from export.engines import run_engine_stage

        for precision in settings.tensorrt.precisions:
            source = ENGINE_SOURCES[precision]
            done[f"tensorrt-{precision}"] = run_engine_stage(run, precision, source, target, sample)
    return done


def explain_engines(run: Run) -> dict[str, Any]:
    """For each precision that the recipe names what TensorRT makes of its graphs; the graphs are made, no engine is.

    :return: By name of engine and graph what `export.explain` found.
    """
    from export.explain import explain
    from export.tensorrt import choose_builder

    builder, data, settings = choose_builder(), load_data(run), run.recipe.export
    sources = [ENGINE_SOURCES[precision] for precision in settings.tensorrt.precisions]
    sample = _sample(run, data)
    for variant in plan_variants(run, data, resolve_target(settings.target)):
        if variant.name in ("onnx", *sources):
            _run_variant(run, variant, sample)
    return {
        f"{source}/{graph.name}": explain(builder, graph)
        for source in sources
        for graph in sorted(run.path_of(source).glob("*.onnx"))
    }


def plan_variants(run: Run, data: DataSet, target: Target) -> list[Variant]:
    """The variants of a run in the order in which they are made."""
    settings = run.recipe.export
    tolerances, calibration = settings.parity, settings.calibration
    static = static_target(settings, target)
    cpu = resolve_target("auto") if target.is_gpu else target
    fused = "onnx" if target.is_gpu else "onnx-fused"
    static_source = "onnx" if static.is_gpu else "onnx-fused"

    def static_int8(folder: Path) -> dict[str, Any]:
        feeds = calibration_feeds(run, data, run.path_of("onnx"))
        quantize_static_int8(run.path_of(static_source), folder, static, feeds, calibration.method)
        activations = "signed, symmetric" if static.signed_activations else "unsigned"
        return {"target": _place(static), "calibration": calibration.model_dump(), "activations": activations}

    def dynamic_int8(folder: Path) -> dict[str, Any]:
        quantize_dynamic_int8(run.path_of(fused), folder, target)
        return {"target": target.name, "weights": "7 bit per channel" if target.reduce_range else "8 bit per channel"}

    def openvino_int8(folder: Path) -> dict[str, Any]:
        feeds = calibration_feeds(run, data, run.path_of("onnx"))
        convert_openvino_int8(run.path_of("onnx-fused"), folder, cpu, feeds, calibration.method)
        return {"target": cpu.name, "calibration": calibration.model_dump(), "activations": "unsigned"}

    def int4(folder: Path) -> dict[str, Any]:
        quantize_int4(run.path_of(fused), folder)
        return {"target": "cpu", "weights": "4 bit in blocks of 32, embeddings 8 bit per token"}

    def fp16(folder: Path) -> dict[str, Any]:
        convert_fp16(run.path_of("onnx"), folder)
        return {"target": "cuda"}

    def plain(folder: Path) -> dict[str, Any]:
        return export_onnx(run.task, run.path_of("student"), folder, data.labels)

    def cpu_fusions(folder: Path) -> dict[str, Any]:
        return {"target": "cpu", "fused": fuse_graphs(run.path_of("onnx"), folder)}

    known = [
        Variant("onnx", "student", tolerances.onnx, plain),
        Variant("onnx-fused", "onnx", tolerances.onnx, cpu_fusions),
        Variant("onnx-int8", fused, tolerances.int8, dynamic_int8, {"target": target.name}),
        Variant(
            "onnx-static",
            static_source,
            tolerances.int8,
            static_int8,
            {"target": _place(static), **calibration.model_dump()},
        ),
        Variant("onnx-fp16", "onnx", tolerances.fp16, fp16),
        Variant("onnx-int4", fused, tolerances.int4, int4),
        Variant(
            "openvino-int8",
            "onnx-fused",
            tolerances.int8,
            openvino_int8,
            {"target": cpu.name, **calibration.model_dump()},
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


def static_target(settings: Export, target: Target) -> Target:
    """What static int8 is made for: a GPU as soon as an engine is built from it, which takes nothing else."""
    if settings.tensorrt.enabled and "int8" in settings.tensorrt.precisions and not target.is_gpu:
        return next(known for known in TARGETS.values() if known.is_gpu)
    return target


def export_table(variants: dict[str, Any]) -> Table:
    """One row a variant: what it is, size, parity."""
    table = Table(title="Variants of the student")
    for heading in ("variant", "parent", "target", "MB", "max diff", "mean diff", "same prediction"):
        table.add_column(heading, justify="left" if heading in ("variant", "parent", "target") else "right")
    for name, summary in variants.items():
        parity = summary.get("parity")
        cells = (
            [
                f"{parity['max_difference']:.2g}",
                f"{parity['mean_difference']:.2g}",
                f"{100 * parity['agreement']:.2f} %",
            ]
            if parity
            else ["needs a GPU", "", ""]
        )
        table.add_row(name, summary["parent"], summary["target"], f"{summary['bytes'] / 1e6:.2f}", *cells)
    return table


def _run_variant(run: Run, variant: Variant, sample: Sample) -> dict[str, Any]:
    """Write one variant and check it against its parent."""

    def build(folder: Path, _: Path) -> dict[str, Any]:
        say(f"{variant.name}: writing")
        described = variant.write(folder)
        parity = measure_parity(sample.answers(run.path_of(variant.parent)), sample.answers(folder))
        check_parity(variant.name, variant.parent, parity, variant.tolerance)
        return {
            "parent": variant.parent,
            "target": "any",
            **described,
            "bytes": graph_bytes(folder),
            "parity": parity.as_dict(),
        }

    inputs = {**variant.inputs, **run.tokenisation, "tolerance": variant.tolerance.model_dump()}
    inputs |= {"rows": len(sample.rows), "generation": run.recipe.generation.model_dump()}
    return run_stage(run, variant.name, inputs, ("data", variant.parent), build)


def graph_bytes(folder: Path) -> int:
    """Size of the graphs in a folder with their weights."""
    return sum(path.stat().st_size for pattern in GRAPH_FILES for path in folder.glob(pattern))


def _place(target: Target) -> str:
    """What a variant that is the same for all GPUs is made for."""
    return "cuda" if target.is_gpu else target.name


def _sample(run: Run, data: DataSet) -> Sample:
    tokenizer = load_tokenizer(str(run.path_of("student")))
    rows = data.splits["validation"]
    chosen = spread_over_languages(rows.column("lang"), run.recipe.export.parity.rows, run.recipe.seed)
    sample = list(rows.select(chosen))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(sample)
    return Sample(run.task, sample, examples, data.labels, tokenizer, Search.of(run.recipe))
