"""The command line. Heavy libraries are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from compress.errors import CompressError
from compress.processes import is_main_process, remember_interrupts

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Distil, export, quantise and measure multilingual transformers.\n\n"
    "Example: [bold]compress distill && compress export --trt && compress bench[/bold]",
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that holds all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, all else to stderr.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Override any recipe field: --set student.layers=3"),
]
RunFolder = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run directory.", show_default="the latest")]
ARTIFACTS = Path("artifacts")


@app.command(
    epilog="Examples:\n\n"
    "  compress distill                                   the demo on embedded data\n\n"
    "  compress distill my.yaml --set seed=1              a recipe, one field changed\n\n"
    "  compress distill --data reviews/ --teacher xlm-r/  your rows and your teacher"
)
def distill(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe (YAML).", show_default="the demo")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    task: Annotated[
        str | None, typer.Option(help="text-classification, token-classification, question-answering or translation.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="File, folder, hub data set, or cldr (built in).")] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher: model folder or hub id.")] = None,
    languages: Annotated[str | None, typer.Option(help="Keep these languages only: en,de,ja")] = None,
    alpha: Annotated[float | None, typer.Option(help="Balance: 1 labels alone, 0 teacher alone.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Softens the teacher's probabilities.")] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes everything that is drawn at random.")] = None,
    set_: Set = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
) -> None:
    """Train or load the teacher, distil the student, compare both on every language."""
    overrides = {
        "name": name,
        "task": task,
        "data.source": data,
        "teacher.model": teacher,
        "data.languages": languages.split(",") if languages else None,
        "student.distillation.alpha": alpha,
        "student.distillation.temperature": temperature,
        "seed": seed,
    }

    def work() -> dict[str, Any]:
        run = _new_run(recipe, {key: value for key, value in overrides.items() if value is not None}, set_, output)
        return _distill(run, json_)

    _finish(work, json_)


@app.command(
    epilog="Examples:\n\n"
    "  compress export                            what this machine is best served with\n\n"
    "  compress export --budget 1.0               the fastest variant that loses at most a point in any language\n\n"
    "  compress export --trt --precision fp16,int8 --sm 86,89\n\n"
    "  compress export --trt --explain            what TensorRT would make of it\n\n"
    "  compress export --onnx model.onnx --trt --profile 1:8:32,1:32:64 --profile 1:1:4,64:128:256"
)
def export(
    run: RunFolder = None,
    target: Annotated[
        str | None, typer.Option(help="What variants are for: cpu-avx2, cpu-vnni, cuda-sm89, … or auto.")
    ] = None,
    variants: Annotated[
        str | None, typer.Option(help="Which: onnx-fused,onnx-int8,onnx-static,openvino-int8,onnx-int4,onnx-fp16.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Search the fastest variant within this worst-language drop.")
    ] = None,
    trt: Annotated[bool, typer.Option("--trt", help="Build TensorRT engines too.")] = False,
    precision: Annotated[str | None, typer.Option(help="Precisions of the engines: fp16,int8,fp32.")] = None,
    sm: Annotated[str | None, typer.Option(help="GPU generations of an ahead-of-time engine: 80,86,89,120")] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="BATCH,LENGTH", help="Shapes of an engine, as minimum:optimum:maximum; can be repeated."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what TensorRT makes of it; build nothing.")] = False,
    onnx: Annotated[Path | None, typer.Option(help="Build an engine of this ONNX file instead of a run.")] = None,
    set_: Set = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
) -> None:
    """Export the student to ONNX, quantise it, build TensorRT engines; each is checked against its parent."""
    overrides: dict[str, Any] = {
        "export.target": target,
        "export.variants": variants.split(",") if variants else None,
        "export.budget.points": budget,
        "export.tensorrt.enabled": True if trt else None,
        "export.tensorrt.precisions": precision.split(",") if precision else None,
        "export.tensorrt.sm": sm.split(",") if sm else None,
    }

    def work() -> dict[str, Any]:
        from compress.run import find_run

        given = {key: value for key, value in overrides.items() if value is not None}
        if profile:
            from export.profiles import parse_profile

            given["export.tensorrt.profiles"] = [parse_profile(text) for text in profile]
        given |= _parsed(set_)
        if not trt and (explain or onnx):
            raise CompressError(f"{'--explain' if explain else '--onnx'} is about TensorRT: add --trt")
        if onnx is not None:
            return _export_file(onnx, output, given, precision, explain, json_)
        found = find_run(run, output, given)
        return _explain(found, json_) if explain else _export(found, json_)

    _finish(work, json_)


@app.command(
    epilog="Examples:\n\n"
    "  compress bench                        the latest run\n\n"
    "  compress bench --load                 under load too\n\n"
    "  compress bench --variant ours=model/  beside a model of your own\n\n"
    "  compress bench artifacts/demo --set bench.threads=1 --json > report.json"
)
def bench(
    run: RunFolder = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A model of your own: a folder or an ONNX file; can be repeated."),
    ] = None,
    load: Annotated[bool, typer.Option("--load", help="Find the highest rate of requests that each can serve.")] = False,
    set_: Set = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
) -> None:
    """Measure teacher, student and every variant: latency, load, size, memory, accuracy per language."""

    def work() -> dict[str, Any]:
        from compress.run import find_run

        return _bench(find_run(run, output, _parsed(set_)), json_, variant or [], load)

    _finish(work, json_)


@app.command(
    epilog="Examples:\n\n"
    "  compress run my.yaml                  distil, export, measure\n\n"
    "  compress run my.yaml --trt --output /data/runs"
)
def run(
    recipe: Annotated[Path, typer.Argument(help="Recipe (YAML).")],
    trt: Annotated[bool, typer.Option("--trt", help="Build a TensorRT engine too.")] = False,
    set_: Set = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
) -> None:
    """All stages of a recipe; those whose inputs have not changed are skipped."""

    def work() -> dict[str, Any]:
        this = _new_run(recipe, {"export.tensorrt.enabled": True} if trt else {}, set_, output)
        return {**_distill(this, json_), **_export(this, json_), **_bench(this, json_)}

    _finish(work, json_)


@app.command(epilog="Example:\n\n  compress doctor --json")
def doctor(
    output: Output = ARTIFACTS,
    json_: Json = False,
) -> None:
    """What this machine can build and run, and what to install for the rest."""

    def work() -> dict[str, Any]:
        from compress.doctor import doctor_tables, examine

        report = examine(output)
        _show(doctor_tables(report), json_)
        return report

    _finish(work, json_)


def main() -> None:
    """Entry point: exit code 0, 2 for what the user can mend, 130 for Ctrl-C."""
    app()


def _finish(work: Callable[[], dict[str, Any]], in_json: bool) -> None:
    """Do a command's work and print its result, or one line about what went wrong."""
    from compress.console import quiet_libraries

    quiet_libraries()
    remember_interrupts()
    try:
        result = work()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None
    except Exception as error:
        message = _user_message(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        if in_json:
            print(json.dumps({"error": message}, ensure_ascii=False))
        raise typer.Exit(2) from None
    if in_json and is_main_process():
        print(json.dumps(result, ensure_ascii=False))


def _user_message(error: Exception) -> str | None:
    """One line for what the user can mend; nothing for our own mistakes, whose traceback must be seen."""
    from safetensors import SafetensorError

    if isinstance(error, CompressError):
        return str(error)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}; free space or choose another --output"
    if isinstance(error, SafetensorError) or "PytorchStreamWriter failed" in str(error):
        return f"the model cannot be written ({str(error).splitlines()[0]}); free space or choose another --output"
    return None


def _new_run(recipe: Path | None, given: dict[str, Any], set_: list[str] | None, output: Path):
    from compress.recipe_file import load_recipe
    from compress.run import open_run

    return open_run(load_recipe(recipe, {**given, **_parsed(set_)}), output)


def _distill(run, in_json: bool) -> dict[str, Any]:
    from compress.console import quiet_transformers, say
    from compress.data.stage import run_data_stage

    say(f"run: {run.folder}")
    data = run_data_stage(run)
    quiet_transformers()
    from compress.cache import run_cache_stage
    from compress.teacher import run_teacher_stage

    teacher = run_teacher_stage(run)
    from compress.sequences import run_sequences_stage, wanted_stages

    sequences = {stage: run_sequences_stage(run) for stage in wanted_stages(run)}
    cache = run_cache_stage(run)
    from compress.evaluation import comparison_line, evaluation_table, run_evaluation_stage
    from compress.student import run_student_stage

    student = run_student_stage(run)
    evaluation = run_evaluation_stage(run)
    line = comparison_line(evaluation["student against teacher"], "student", "teacher")
    _show([evaluation_table(evaluation), line], in_json)
    stages = {"cache": cache, "student": student, "evaluation": evaluation}
    return {"run": str(run.folder), "data": data, "teacher": teacher, **sequences, **stages}


def _export(run, in_json: bool) -> dict[str, Any]:
    from compress.console import quiet_transformers

    quiet_transformers()
    from export.stage import export_table, run_export_stages

    variants = run_export_stages(run)
    tables = [export_table(variants)]
    if "onnx-chosen" in variants:
        from export.frontier import frontier_table

        tables.append(frontier_table(variants["onnx-chosen"]))
    _show(tables, in_json)
    return {"run": str(run.folder), "variants": variants}


def _explain(run, in_json: bool) -> dict[str, Any]:
    from compress.console import quiet_transformers

    quiet_transformers()
    from export.explain import explanation_table
    from export.stage import explain_engines

    found = explain_engines(run)
    _show([explanation_table(name, graph) for name, graph in found.items()], in_json)
    return {"run": str(run.folder), "graphs": found}


def _export_file(
    path: Path, output: Path, overrides: dict[str, Any], precision: str | None, explain_only: bool, in_json: bool
) -> dict[str, Any]:
    """An engine of an ONNX file that no run has made, or what TensorRT would make of it."""
    from compress.recipe_file import load_recipe
    from export.engines import compile_onnx, engine_table, resolved
    from export.explain import explain, explanation_table
    from export.onnx_check import check_onnx
    from export.tensorrt import choose_builder

    recipe = load_recipe(None, overrides)
    settings = resolved(recipe.export.tensorrt, recipe.data.max_length)
    if explain_only:
        check_onnx(path)
        found = explain(choose_builder(), path)
        _show([explanation_table(path.name, found)], in_json)
        return {"graphs": {path.name: found}}
    if len(settings.precisions) > 1:
        raise CompressError(f"--precision {precision}: an ONNX file makes one engine; name one precision")
    engine = compile_onnx(path, output, settings, precision)
    _show([engine_table(engine)], in_json)
    return {"engine": engine}


def _bench(run, in_json: bool, variants: Sequence[str] = (), load: bool = False) -> dict[str, Any]:
    from compress.console import quiet_transformers

    quiet_transformers()
    from bench.report import bench_tables
    from bench.stage import run_bench_stage

    report = run_bench_stage(run, variants, load)
    _show([*bench_tables(report), f"report: {run.folder / 'bench' / 'report.html'}"], in_json)
    return {"run": str(run.folder), "bench": report.without_raw()}


def _show(results: list[Any], in_json: bool) -> None:
    """Print tables and sentences: to standard output, or to standard error where that is kept for JSON."""
    from rich.console import Console

    if not is_main_process():
        return
    console = Console(stderr=in_json, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=in_json, highlight=False, width=160)
    for result in results:
        console.print(result, markup=False) if isinstance(result, str) else console.print(result)


def _parsed(assignments: list[str] | None) -> dict[str, Any]:
    import yaml

    overrides = {}
    for assignment in assignments or []:
        field, separator, value = assignment.partition("=")
        if not separator:
            raise CompressError(f"--set {assignment}: expected FIELD=VALUE, for example --set student.layers=3")
        overrides[field.strip()] = yaml.safe_load(value)
    return overrides
