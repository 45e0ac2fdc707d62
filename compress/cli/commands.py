"""What the commands do, stage by stage; heavy libraries are imported by the stage that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.processes import is_main_process


def distill(run, in_json: bool) -> dict[str, Any]:
    """Teacher, student, and both compared."""
    from compress.console import quiet_transformers, say
    from compress.data.stage import run_data_stage

    say(f"run: {run.folder}")
    data = run_data_stage(run)
    quiet_transformers()
    from compress.teacher.outputs import run_cache_stage
    from compress.teacher.stage import run_teacher_stage

    teacher = run_teacher_stage(run)
    from compress.teacher.sequences import run_sequences_stage, wanted_stages

    sequences = {stage: run_sequences_stage(run) for stage in wanted_stages(run)}
    cache = run_cache_stage(run)
    from compress.evaluation.stage import run_evaluation_stage
    from compress.evaluation.tables import comparison_line, evaluation_table
    from compress.student.stage import run_student_stage

    student = run_student_stage(run)
    evaluation = run_evaluation_stage(run)
    line = comparison_line(evaluation.student_against_teacher, "student", "teacher")
    show([evaluation_table(evaluation), line], in_json)
    stages = {"data": data, "teacher": teacher, **sequences, "cache": cache, "student": student}
    stages["evaluation"] = evaluation
    return {"run": str(run.folder), **{name: found.model_dump(mode="json") for name, found in stages.items()}}


def export(run, in_json: bool) -> dict[str, Any]:
    """Every variant and engine that the recipe names."""
    from compress.console import quiet_transformers

    quiet_transformers()
    from export.stage import export_table, run_export_stages

    variants = run_export_stages(run)
    tables = [export_table(variants)]
    if "onnx-chosen" in variants:
        from export.search.frontier import frontier_table
        from export.search.report import read_search

        tables.append(frontier_table(read_search(run.folder / "onnx-chosen")))
    show(tables, in_json)
    dumped = {name: found.model_dump(mode="json") for name, found in variants.items()}
    return {"run": str(run.folder), "variants": dumped}


def explain(run, in_json: bool) -> dict[str, Any]:
    """What TensorRT would make of the graphs."""
    from compress.console import quiet_transformers

    quiet_transformers()
    from export.stage import explain_engines
    from export.tensorrt.explain import explanation_table

    found = explain_engines(run)
    show([explanation_table(name, graph) for name, graph in found.items()], in_json)
    return {"run": str(run.folder), "graphs": {name: graph.model_dump() for name, graph in found.items()}}


def export_file(
    path: Path, output: Path, overrides: dict[str, Any], precision: str | None, explain_only: bool, in_json: bool
) -> dict[str, Any]:
    """An engine of an ONNX file that no run has made, or what TensorRT would make of it."""
    from compress.recipe.file import load_recipe
    from compress.runtimes.tensorrt import choose_builder
    from export.onnx.checks import check_onnx
    from export.tensorrt.compile import compile_onnx, engine_table
    from export.tensorrt.explain import explain, explanation_table
    from export.tensorrt.settings import resolved

    recipe = load_recipe(None, overrides)
    settings = resolved(recipe.export.tensorrt, recipe.data.max_length)
    if explain_only:
        check_onnx(path)
        found = explain(choose_builder(), path)
        show([explanation_table(path.name, found)], in_json)
        return {"graphs": {path.name: found.model_dump()}}
    if len(settings.precisions) > 1:
        raise CompressError(f"--precision {precision}: an ONNX file makes one engine; name one precision")
    engine = compile_onnx(path, output, settings, precision)
    show([engine_table(engine)], in_json)
    return {"engine": {"folder": str(engine.folder), **engine.sidecar.model_dump(mode="json")}}


def bench(
    run, in_json: bool, variants: Sequence[str] = (), load: bool = False, pytest_json: Path | None = None
) -> dict[str, Any]:
    """Measure all models of a run."""
    from compress.console import quiet_transformers

    quiet_transformers()
    from bench.report.text import bench_tables
    from bench.stage import run_bench_stage

    report = run_bench_stage(run, variants, load)
    if pytest_json is not None:
        from bench.report.pytest_json import write_pytest_json

        write_pytest_json(report, pytest_json)
    show([*bench_tables(report), f"report: {run.folder / 'bench' / 'report.html'}"], in_json)
    return {"run": str(run.folder), "bench": report.without_raw()}


def check(
    run, baseline: Path, limits: dict[str, float], variants: Sequence[str] | None, in_json: bool
) -> dict[str, Any]:
    """Compare a run with its baseline."""
    from compress.console import quiet_transformers

    quiet_transformers()
    from bench.gate.judgement import Limits
    from bench.gate.report import check_lines, check_table
    from bench.gate.stage import run_check_stage
    from bench.report.text import terminal_table

    report = run_check_stage(run, baseline, Limits(**limits), variants)
    show([terminal_table(check_table(report)), *check_lines(report)], in_json)
    return report.as_json()


def bundle(run, wanted: dict[str, Any], archive: bool, in_json: bool) -> dict[str, Any]:
    """Pack variants for those who serve them."""
    from compress.console import quiet_transformers, say

    quiet_transformers()
    from compress.reports.bench import read_report
    from compress.serving.format import ARCHIVE_SUFFIX
    from export.bundle.stage import Wanted, bundle_table, run_bundle_stage
    from export.bundle.trust.archive import pack

    report = run.folder / "bench" / "report.json"
    measured = read_report(report).as_json() if report.exists() else None
    summary = run_bundle_stage(run, Wanted(**wanted), measured)
    folder, packed = run.folder / "bundle", run.folder / f"bundle{ARCHIVE_SUFFIX}"
    packed.unlink(missing_ok=True)  # of an earlier bundle
    if archive:
        say(f"bundle: writing {packed}")
        pack(folder, packed)
    show([bundle_table(folder), f"bundle: {folder}"], in_json)
    return {"run": str(run.folder), "bundle": str(folder), "archive": str(packed) if archive else None, **summary}


def verify(
    bundle: Path, key: Path | None, certificates: Sequence[Path], unpack_to: Path | None, in_json: bool
) -> dict[str, Any]:
    """Check a bundle."""
    from compress.console import quiet_transformers

    quiet_transformers()
    from export.bundle.trust.verify import verification_table, verify

    found = verify(bundle, key, certificates, unpack_to)
    show([verification_table(found), "pass" if found.passed else "fail"], in_json)
    return found.as_json()


def show(results: list[Any], in_json: bool) -> None:
    """Print tables and sentences: to standard output, or to standard error where that is kept for JSON."""
    from rich.console import Console

    if not is_main_process():
        return
    console = Console(stderr=in_json, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=in_json, highlight=False, width=160)
    for result in results:
        console.print(result, markup=False) if isinstance(result, str) else console.print(result)
