"""What the commands do, stage by stage; heavy libraries are imported by the stage that needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compress.cli.options import Overrides, assigned
from compress.cli.outcome import show
from compress.console import quiet_transformers, say, working
from compress.errors import CompressError
from compress.extras import missing_modules, require
from compress.processes import is_main_process

if TYPE_CHECKING:
    from bench.gate.judgement import Limits
    from bench.gate.result import CheckReport
    from compress.cli.export_results import BundleResult, EngineResult, ExplainResult, ExportResult, WebResult
    from compress.cli.results import BenchResult, DistillResult
    from compress.data.summary import DataSummary
    from compress.recipe.recipe import Recipe
    from compress.runs.directory import Run
    from compress.student.summary import StudentSummary
    from compress.teacher.summary import (
        AugmentationSummary,
        OutputsSummary,
        PredictionsSummary,
        SequencesSummary,
        TeacherSummary,
    )
    from export.bundle.stage import Wanted
    from export.bundle.trust.result import Verification


def distill(run: Run, in_json: bool) -> DistillResult:
    """Teacher, student, and both compared; or the model that is taken as it is."""
    from compress.runs.directory import keep_recipe

    data, predictions, teacher = taught(run)
    from compress.cli.results import DistillResult
    from compress.evaluation.answers import run_answers_stage
    from compress.evaluation.stage import run_evaluation_stage
    from compress.evaluation.tables import comparison_lines, shown_tables
    from compress.student.seeds import seeds_table

    if not data.labelled:
        run_answers_stage(run)
    distils = run.recipe.student.is_learnt
    sequences, augmented, cache, student = _learnt(run) if distils else (None, None, None, None)
    evaluation = run_evaluation_stage(run)
    if is_main_process():
        keep_recipe(run)
    tables = shown_tables(evaluation, labelled=data.labelled)
    tables += [seeds_table(student)] if student and student.seeds else []
    show([*tables, *comparison_lines(evaluation)], in_json)
    return DistillResult(
        run=str(run.folder),
        data=data,
        predictions=predictions,
        teacher=teacher,
        sequences=sequences,
        augmented=augmented,
        cache=cache,
        student=student,
        evaluation=evaluation,
    )


def taught(run: Run) -> tuple[DataSummary, PredictionsSummary | None, TeacherSummary]:
    """Data and teacher, or what stands in its place."""
    from compress.data.stage import run_data_stage

    say(f"run: {run.folder}")
    data = run_data_stage(run)
    quiet_transformers()
    from compress.teacher.predictions import run_predictions_stage
    from compress.teacher.stage import run_teacher_stage

    predictions = run_predictions_stage(run) if run.recipe.teacher.predictions else None
    _try_export(run)
    return data, predictions, run_teacher_stage(run)


def _learnt(
    run: Run,
) -> tuple[SequencesSummary | None, AugmentationSummary | None, OutputsSummary, StudentSummary]:
    """The student, and what it learns from."""
    from compress.student.stage import run_student_stage
    from compress.teacher.augmentation import run_augmentation_stage
    from compress.teacher.outputs import run_cache_stage
    from compress.teacher.sequences import run_sequences_stage

    sequences = run_sequences_stage(run) if run.recipe.student.distillation.sequences.enabled else None
    augmented = run_augmentation_stage(run) if run.recipe.student.augmentation.copies else None
    return sequences, augmented, run_cache_stage(run), run_student_stage(run)


def _try_export(run: Run) -> None:
    """Refuse a model that could not be exported, or whose student could not, before anything long starts.

    Where what exports is not installed, where it is made already, and where nothing is trained, nothing is tried.
    """
    from compress.student.summary import exported_name

    recipe = run.recipe
    installed = not missing_modules("export") and not missing_modules("cpu")
    name = recipe.teacher.model
    made = exported_name(run) in run.manifest.stages
    if name is None or made or not recipe.trains or not installed or not is_main_process():
        return
    from compress.models.build import student_config
    from compress.models.load import load_config, load_tokenizer
    from compress.models.sentence_folder import keep_head, read_head
    from compress.models.source import fetch
    from compress.runtimes.memory import tell_of_rows
    from compress.teacher.stage import try_teacher_of
    from export.onnx.trial import try_export

    try_teacher_of(run)
    source, trusted = fetch(recipe.teacher), recipe.teacher.trust_remote_code
    config = load_config(source, trusted)
    if run.task.VECTORS:
        keep_head(config, read_head(source, recipe.teacher, config))
    if recipe.student.is_learnt:
        config = student_config(config, recipe.student)
    tell_of_rows(config, recipe.data.max_length)
    with working("export: trying it untrained"):
        try:
            inputs = load_tokenizer(source, trusted).model_input_names
            try_export(run.task, config, inputs, source, trusted, recipe.export.opset)
        except CompressError as error:
            raise CompressError(f"{name}: {error}") from error


def export(run: Run, in_json: bool) -> ExportResult:
    """Every variant and engine that the recipe names."""
    quiet_transformers()
    from compress.cli.export_results import ExportResult
    from compress.variants.registry import CHOSEN
    from export.stage import export_table, run_export_stages

    exported = run_export_stages(run)
    tables, found = [export_table(exported)], None
    if CHOSEN.name in exported.variants:
        from export.search.frontier import frontier_table
        from export.search.report import read_search

        found = read_search(run.path_of(CHOSEN.name))
        tables.append(frontier_table(found))
    show(tables, in_json)
    return ExportResult(run=str(run.folder), variants=exported.variants, left_out=exported.left_out, search=found)


def explain(run: Run, in_json: bool) -> ExplainResult:
    """What TensorRT would make of the graphs."""
    quiet_transformers()
    from compress.cli.export_results import ExplainResult
    from export.stage import explain_engines
    from export.tensorrt.explain import explanation_table

    found = explain_engines(run)
    show([explanation_table(name, graph) for name, graph in found.items()], in_json)
    return ExplainResult(run=str(run.folder), graphs=found)


def explain_file(path: Path, overrides: Mapping[str, object], in_json: bool) -> ExplainResult:
    """What TensorRT would make of an ONNX file that no run has made."""
    from compress.cli.export_results import ExplainResult
    from compress.recipe.file import load_recipe
    from compress.runtimes.tensorrt import choose_builder
    from export.onnx.checks import check_onnx
    from export.tensorrt.builder import check_options
    from export.tensorrt.explain import explain as explain_graph
    from export.tensorrt.explain import explanation_table

    builder = choose_builder()
    check_options(builder, load_recipe(None, overrides).export.tensorrt)
    check_onnx(path)
    found = explain_graph(builder, path)
    show([explanation_table(path.name, found)], in_json)
    return ExplainResult(run=None, graphs={path.name: found})


def compile_file(
    path: Path, output: Path, overrides: Mapping[str, object], precision: str | None, in_json: bool
) -> EngineResult:
    """An engine of an ONNX file that no run has made.

    :param precision: As the user gave it.
    """
    from compress.cli.export_results import BuiltEngine, EngineResult
    from compress.recipe.file import load_recipe
    from export.tensorrt.compile import compile_onnx, engine_table
    from export.tensorrt.settings import resolved

    recipe = load_recipe(None, overrides)
    settings = resolved(recipe.export.tensorrt, recipe.data.max_length)
    if len(settings.precisions) > 1:
        raise CompressError(f"--precision {precision}: an ONNX file makes one engine; name one precision")
    engine = compile_onnx(path, output, settings, settings.precisions[0] if precision else None)
    show([engine_table(engine)], in_json)
    return EngineResult(engine=BuiltEngine(**dict(engine.sidecar), folder=str(engine.folder)))


def bench(
    run: Run, in_json: bool, variants: Sequence[str] = (), load: bool = False, pytest_json: Path | None = None
) -> BenchResult:
    """Measure all models of a run."""
    quiet_transformers()
    from bench.report.text import bench_tables
    from bench.stage import run_bench_stage
    from compress.cli.results import BenchResult

    report = run_bench_stage(run, variants, load)
    if pytest_json is not None:
        from bench.report.pytest_json import write_pytest_json

        write_pytest_json(report, pytest_json)
    show([*bench_tables(report), f"report: {run.folder / 'bench' / 'report.html'}"], in_json)
    return BenchResult(run=str(run.folder), bench=report.without_raw)


def check(run: Run, baseline: Path, limits: Limits, variants: Sequence[str] | None, in_json: bool) -> CheckReport:
    """Compare a run with its baseline."""
    quiet_transformers()
    from bench.gate.report import check_lines, check_table
    from bench.gate.stage import run_check_stage
    from bench.report.text import terminal_table

    report = run_check_stage(run, baseline, limits, variants)
    show([terminal_table(check_table(report)), *check_lines(report)], in_json)
    return report


def bundle(run: Run, wanted: Wanted, archive: bool, in_json: bool) -> BundleResult:
    """Pack variants for those who serve them."""
    quiet_transformers()
    from compress.cli.export_results import BundleResult
    from compress.reports.bench import read_report
    from compress.serving.format import ARCHIVE_SUFFIX
    from export.bundle.choice import BENCH
    from export.bundle.stage import bundle_table, run_bundle_stage
    from export.bundle.summary import BUNDLE
    from export.bundle.trust.archive import pack

    measured = BENCH in run.manifest.stages
    report = read_report(run.path_of(BENCH) / "report.json") if measured else None
    summary = run_bundle_stage(run, wanted, report)
    folder, packed = run.folder / BUNDLE.name, run.folder / f"{BUNDLE.name}{ARCHIVE_SUFFIX}"
    packed.unlink(missing_ok=True)  # of an earlier bundle
    if archive:
        say(f"bundle: writing {packed}")
        pack(folder, packed)
    show([bundle_table(folder), f"bundle: {folder}"], in_json)
    return BundleResult(
        **dict(summary), run=str(run.folder), bundle=str(folder), archive=str(packed) if archive else None
    )


def web(run: Run, wanted: Wanted, in_json: bool) -> WebResult:
    """Pack variants for browsers."""
    quiet_transformers()
    from compress.cli.export_results import WebResult
    from compress.reports.bench import read_report
    from export.bundle.choice import BENCH
    from export.bundle.web.stage import run_web_stage
    from export.bundle.web.summary import WEB

    report = read_report(run.path_of(BENCH) / "report.json") if BENCH in run.manifest.stages else None
    summary, folder = run_web_stage(run, wanted, report), run.folder / WEB.name
    told = f"web: {folder}, {summary.bytes / 1e6:.1f} MB; the tokens of {summary.texts:,} texts are Python's"
    show([told, f"python -m http.server --bind 127.0.0.1 --directory {folder}"], in_json)
    return WebResult(**dict(summary), run=str(run.folder), web=str(folder))


def verify(
    bundle: Path, key: Path | None, certificates: Sequence[Path], unpack_to: Path | None, in_json: bool
) -> Verification:
    """Check a bundle."""
    quiet_transformers()
    from export.bundle.trust.verify import verification_table
    from export.bundle.trust.verify import verify as verify_bundle

    found = verify_bundle(bundle, key, certificates, unpack_to)
    show([verification_table(found), found.verdict], in_json)
    return found


def new_run(
    recipe: Path | None,
    values: Overrides,
    set_: list[str] | None,
    output: Path,
    check: Callable[[Recipe], None] | None = None,
) -> Run:
    """The run of a recipe, created or gone on with; its log is kept from now on.

    :param check: Refuses recipes that the command can do nothing with, before there is a run; none: of one student.
    """
    from compress.cli.taken import with_what_the_model_says
    from compress.console import start_log
    from compress.recipe.file import load_recipe
    from compress.recipe.recipe import check_plain_text
    from compress.runs.directory import open_run

    read = load_recipe(recipe, {**values, **assigned(set_)})
    (check or check_plain_text)(read)
    found = open_run(with_what_the_model_says(read), output)
    start_log(found.folder)
    return found


def taken_run(model: Path | None, data: str, given: Overrides, output: Path, in_json: bool) -> Run:
    """The run of a model that is exported as it is, which its rows were read and the model was looked at for.

    :param model: Its folder or hub id.
    :param given: Fields of the recipe that the user named.
    """
    from compress.cli.taken import fields_of_model
    from compress.console import end_log
    from compress.runs.directory import discard_run, pointed_to
    from compress.student.summary import exported_name

    if model is None:
        raise CompressError("--data: name the model that the rows are for: compress export MODEL --data ROWS")
    require("compress export MODEL", "distill")
    quiet_transformers()
    fields = {**fields_of_model(str(model), data, given), **given}
    known, latest = (output / str(fields["name"])).exists(), pointed_to(output)
    run = new_run(None, fields, None, output)
    try:
        distill(run, in_json)
    except CompressError:
        if not known and exported_name(run) not in run.manifest.stages:  # nothing that took long is lost
            end_log()
            discard_run(run, latest)
        raise
    return run


def run_to_export(folder: Path | None, model: Overrides, output: Path, overrides: Overrides) -> Run:
    """A run that is there.

    :param model: What the user said of a model, which a run has none of.
    """
    if model:
        option = next(iter(model)).rpartition(".")[2].replace("_", "-")
        raise CompressError(f"--{option} is for a model that is exported as it is: name its rows with --data")
    if folder is not None and (folder / "config.json").is_file() and not (folder / "recipe.yaml").exists():
        raise CompressError(f"{folder}: a model and no run; to export it as it is name rows that it is for with --data")
    return found_run(folder, output, overrides)


def found_run(folder: Path | None, output: Path, overrides: Overrides) -> Run:
    """A run that is there; its log is kept from now on."""
    from compress.console import start_log
    from compress.runs.directory import find_run

    found = find_run(folder, output, overrides)
    start_log(found.folder)
    return found
