"""The export stages: one folder a variant, each accepted only if it agrees with its parent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from compress.console import say, table, visible, working
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError, RejectedVariantError
from compress.recipe.export import Export
from compress.runs.directory import Run, keep_recipe
from compress.runs.stages import run_stage
from compress.runtimes.openvino import openvino_core
from compress.runtimes.tensorrt import choose_builder
from compress.student.summary import exported_name
from compress.targets import TARGETS, Target, resolve_target, without_bf16
from compress.variants.registry import CHOSEN, ENGINES, PLAIN, STUDENT_NAME, VARIANTS, Variant
from export.onnx.graphs import graph_bytes, graphs_in
from export.search.stage import check_target, run_search_stage
from export.tensorrt.builder import check_options
from export.tensorrt.explain import Explanation, explain
from export.tensorrt.stage import run_engine_stage
from export.variants.making import (
    Ingredients,
    ingredients_of,
    make,
    place_of,
    planned_variants,
    target_for,
    wanted_engines,
)
from export.variants.merged import keep_merged_if_same
from export.variants.parity import check_parity, measure_parity, tolerance_for
from export.variants.ranges import HALF_LIMIT, half_precision_of
from export.variants.sample import Sample, draw_sample
from export.variants.summary import VariantSummary, variant_stage


@dataclass(frozen=True)
class Exported:
    """What was made, by name of variant; and why one was left out that nobody has asked for."""

    variants: dict[str, VariantSummary]
    left_out: dict[str, str]


def run_export_stages(run: Run) -> Exported:
    """Write ``onnx/``, the variants that the target is best served with or the recipe names, and engines if wanted.

    What the command line changed of the recipe becomes the run's own once all is made. A variant that is too far from
    its parent is a finding where there is a budget, as the search goes on, or another form of its precision, unless
    something is made of it or the recipe names it.

    :raises CompressError: If something that is asked for cannot be made, or a variant is too far from its parent.
    """
    data, settings = load_data(run), run.recipe.export
    target = resolve_target(settings.target)
    variants = planned_variants(settings, target, writes=run.task.GENERATES)
    _check(run, variants, target)
    sample = draw_sample(run, data, settings.parity.rows)
    ingredients = ingredients_of(run, data, target)
    done: dict[str, VariantSummary] = {}
    left_out: dict[str, str] = {}
    for variant in variants:
        try:
            done[variant.name] = _run_variant_stage(run, variant, ingredients, sample)
        except RejectedVariantError as error:
            searching = settings.budget.points is not None
            if _is_needed(variant, variants, settings, target) or not (searching or _has_like(variant, done)):
                raise
            left_out[variant.name] = str(error)
            say(f"{error}; the {'search' if searching else 'export'} goes on without {variant.name}")
    if settings.budget.points is not None:
        done[CHOSEN.name] = run_search_stage(run, ingredients, sample)
    if settings.tensorrt.enabled:
        for precision in settings.tensorrt.precisions:
            done[ENGINES[precision].name] = run_engine_stage(run, precision, target, sample)
    if run.overrides:
        keep_recipe(run)
    return Exported(done, left_out)


def explain_engines(run: Run) -> dict[str, Explanation]:
    """For each precision that the recipe names what TensorRT makes of its graphs; the graphs are made, no engine is.

    As those are stages of the run, what the command line changed of the recipe becomes the run's own.

    :return: By name of variant and graph.
    :raises CompressError: If there is no builder, it does not know an option, or a variant is too far from its parent.
    """
    builder, data, settings = choose_builder(), load_data(run), run.recipe.export
    check_options(builder, settings.tensorrt)
    target = resolve_target(settings.target)
    sources = [ENGINES[precision].parent for precision in settings.tensorrt.precisions]
    sample = draw_sample(run, data, settings.parity.rows)
    ingredients = ingredients_of(run, data, target)
    for variant in planned_variants(settings, target):
        if variant.name in (PLAIN.name, *sources):
            _run_variant_stage(run, variant, ingredients, sample)
    explained = {
        f"{source}/{graph.name}": explain(builder, graph)
        for source in sources
        for graph in graphs_in(run.path_of(source))
    }
    if run.overrides:
        keep_recipe(run)
    return explained


def export_table(exported: Exported) -> Table:
    """One row a variant: what it is, size, parity; and below why one was left out."""
    rows: list[tuple[str, ...]] = []
    for name, summary in exported.variants.items():
        parity = summary.parity
        cells = ["nothing here runs it" if len(summary.engines) > 1 else "needs a GPU", "", "", ""]
        if parity is not None:
            differences = [f"{parity.max_difference:.2g}", f"{parity.mean_difference:.2g}"]
            cells = [*differences, f"{100 * parity.agreement:.2f} %"]
            cells.append("" if parity.largest_value is None else f"{parity.largest_value:,.0f} of {HALF_LIMIT:,.0f}")
        rows.append((name, summary.parent, summary.target, f"{summary.bytes / 1e6:.2f}", *cells))
    rows += [(name, "left out") for name in exported.left_out]
    headings = ("variant", "parent", "target", "MB", "max diff", "mean diff", "same prediction", "largest value")
    drawn = table("Variants", headings, rows, left=3)
    drawn.caption = Text(visible("\n".join(exported.left_out.values()))) if exported.left_out else None
    return drawn


def _is_needed(variant: Variant, variants: Sequence[Variant], settings: Export, target: Target) -> bool:
    """Whether the recipe names a variant, or something else is made of it."""
    parents = [other.parent_for(target_for(other, target)) for other in variants]
    parents += [engine.parent for engine in wanted_engines(settings.tensorrt)]
    return variant.name in parents or variant.name in (settings.variants or [])


def _has_like(variant: Variant, done: Collection[str]) -> bool:
    """Whether another form of a variant's precision was made."""
    return any(VARIANTS[name].precision == variant.precision for name in done)


def _check(run: Run, variants: list[Variant], target: Target) -> None:
    """Say what cannot be done before any work is."""
    if any(variant.runtime == "OpenVINO" for variant in variants):
        openvino_core()
    for variant in variants:
        if variant.precision == "bf16":
            _check_bf16(variant, target_for(variant, target))
    if run.recipe.export.budget.points is not None:
        check_target(target)
    if run.recipe.export.tensorrt.enabled:
        check_options(choose_builder(), run.recipe.export.tensorrt)


def _check_bf16(variant: Variant, target: Target) -> None:
    """Refuse what calculates in bf16 where it will not run so, or cannot be compared as it will run.

    :param target: Of the variant.
    :raises CompressError: Saying what would do.
    """
    reason = without_bf16()
    if not target.bf16 and not reason:
        reason = f"it calculates in bf16, and it would be for {target.name}"
    if reason:
        known = " or ".join(name for name, other in TARGETS.items() if other.bf16)
        raise CompressError(
            f"{variant.name}: {reason}; export it on such a processor (--target {known}), or leave it out (--variants)"
        )


def _run_variant_stage(run: Run, variant: Variant, ingredients: Ingredients, sample: Sample) -> VariantSummary:
    """Make one variant and check it against its parent.

    :param ingredients: For the run's target.
    """
    settings = run.recipe.export
    target = target_for(variant, ingredients.target)
    parent, tolerance = str(variant.parent_for(target)), tolerance_for(variant, settings)
    parent = exported_name(run) if parent == STUDENT_NAME else parent

    def build(folder: Path, _: Path) -> VariantSummary:
        say(f"{variant.name}: writing")
        half = None
        if variant.is_half_precision:
            with working(f"{variant.name}: looking for values that half precision cannot hold"):
                half = half_precision_of(run.path_of(PLAIN.name), sample)
        made = make(variant, replace(ingredients, target=target, half=half), folder)
        keep_merged_if_same(variant.name, folder, sample)
        with working(f"{variant.name}: comparing with {parent} on {len(sample.rows)} rows"):
            answers = sample.answers(folder)
            parity = measure_parity(run.task, sample.answers_of(run.path_of(parent)), answers)
        check_parity(variant.name, parent, parity, tolerance)
        sample.remember(run.folder / variant.name, answers)
        if half is not None:
            parity = parity.model_copy(update={"largest_value": half.largest, "too_large": len(half.too_large)})
        summary = {**dict(made), "parent": parent, "tolerance": tolerance, "bytes": graph_bytes(folder)}
        return VariantSummary(**summary, parity=parity)

    inputs = {**run.tokenisation, "tolerance": tolerance.model_dump(), "rows": len(sample.rows)}
    inputs |= {"generation": run.recipe.generation.model_dump(), "opset": settings.opset}
    if variant.follows_target:
        inputs["target"] = place_of(variant, target)
    if variant.calibrated:
        inputs["calibration"] = settings.calibration.model_dump()
    if variant.precision in ("int8", "int4") and "CPU" in variant.runs_on:
        inputs["embedding_bits"] = settings.embedding_bits
    return run_stage(run, variant_stage(variant.name), inputs, (DATA.name, parent), build)
