"""The export stages: one folder a variant, each accepted only if it agrees with its parent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from compress.console import say
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runtimes.openvino import openvino_core
from compress.targets import resolve_target
from export.onnx.graphs import graph_bytes
from export.variants.making import ENGINE_SOURCES, Variant, plan_variants, wanted_variants
from export.variants.parity import check_parity, measure_parity
from export.variants.sample import Sample, _sample

if TYPE_CHECKING:
    pass


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
        from export.search.stage import STAGE, check_target, run_search_stage

        check_target(target)
    if settings.tensorrt.enabled:
        from export.tensorrt.builder import check_options, choose_builder

        check_options(choose_builder(), settings.tensorrt)
    sample = _sample(run, data)
    done = {variant.name: _run_variant(run, variant, sample) for variant in plan_variants(run, data, target)}
    if settings.budget.points is not None:
        done[STAGE] = run_search_stage(run, sample)
    if settings.tensorrt.enabled:
        from export.tensorrt.stage import run_engine_stage

        for precision in settings.tensorrt.precisions:
            source = ENGINE_SOURCES[precision]
            done[f"tensorrt-{precision}"] = run_engine_stage(run, precision, source, target, sample)
    return done


def explain_engines(run: Run) -> dict[str, Any]:
    """For each precision that the recipe names what TensorRT makes of its graphs; the graphs are made, no engine is.

    :return: By name of engine and graph what `export.tensorrt.explain` found.
    """
    from export.tensorrt.builder import choose_builder
    from export.tensorrt.explain import explain

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
