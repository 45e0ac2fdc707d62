"""The command line. Heavy libraries are imported inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli import certify, commands, export, fit, predict, recipe, serve, trim
from compress.cli.options import (
    ARTIFACTS,
    Json,
    Output,
    RunFolder,
    Set,
    SetForBundle,
    SetForNow,
    Verbose,
    assigned_for_measuring,
    assigned_for_packing,
    given,
    listed,
)
from compress.cli.outcome import finish, open_streams, show, written_output
from compress.errors import CompressError
from compress.extras import require
from compress.threads import bound_threads

if TYPE_CHECKING:
    from bench.gate.result import CheckReport
    from compress.cli.doctor import DoctorReport
    from compress.cli.export_results import BundleResult, RunResult, WebResult
    from compress.cli.results import BenchResult, DistillResult
    from export.bundle.trust.result import Verification

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Distil, export, quantise and measure multilingual transformers.\n\n"
    "Example: [bold]compress distill && compress export --trt && compress bench[/bold]",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from compress.runs.versions import program_version

        with written_output():
            print(f"compress {program_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


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
        str | None, typer.Option(help="text-classification, multi-label-classification, token-classification, …")
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
    verbose: Verbose = False,
) -> None:
    """Train or load the teacher, distil the student, compare both on every language."""
    overrides = {
        "name": name,
        "task": task,
        "data.source": data,
        "teacher.model": teacher,
        "data.languages": listed(languages),
        "student.distillation.alpha": alpha,
        "student.distillation.temperature": temperature,
        "seed": seed,
    }

    def work() -> DistillResult:
        require("compress distill", "distill")
        return commands.distill(commands.new_run(recipe, given(overrides), set_, output), json_)

    finish(work, json_, verbose)


app.command(epilog=export.EPILOG)(export.export)


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
    load: Annotated[
        bool, typer.Option("--load", help="Find the highest rate of requests that each can serve.")
    ] = False,
    pytest_json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write latencies as pytest-benchmark does, for its compare.")
    ] = None,
    set_: SetForNow = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure teacher, student and every variant: latency, load, size, memory, accuracy per language."""

    def work() -> BenchResult:
        require("compress bench", "bench", "cpu")
        found = commands.found_run(run, output, assigned_for_measuring(set_))
        return commands.bench(found, json_, variant or [], load, pytest_json)

    finish(work, json_, verbose)


@app.command(
    epilog="Examples:\n\n"
    "  compress check artifacts/new --baseline artifacts/released\n\n"
    "  compress check --baseline released/report.json --max-drop 0.5 --variants onnx-int8\n\n"
    "Exit codes: 0 everything is within its limit, 1 something is beyond it, 2 bad input, 3 noise hides the answer, 4 "
    "nothing speaks against it, but some languages or labels have too few rows to tell."
)
def check(
    run: RunFolder = None,
    baseline: Annotated[
        Path, typer.Option(help="A run directory, or the report.json of one that is elsewhere.", show_default=False)
    ] = ...,  # type: ignore[assignment]
    max_slowdown: Annotated[float, typer.Option(min=0.01, help="Ratio of times that is allowed.")] = 1.10,
    max_growth: Annotated[float, typer.Option(min=0.01, help="Ratio of bytes, on disk and in memory.")] = 1.05,
    max_drop: Annotated[float, typer.Option(min=0, metavar="POINTS", help="Loss in any language.")] = 1.0,
    max_label_drop: Annotated[
        float, typer.Option(min=0, metavar="POINTS", help="Loss of the recall of any label.")
    ] = 5.0,
    variants: Annotated[
        str | None, typer.Option(help="Which to compare; left out, all that both have for this machine.")
    ] = None,
    set_: SetForNow = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Compare a run with its baseline: is any variant slower, larger, or worse in any language?"""

    def work() -> CheckReport:
        require("compress check", "bench", "cpu")
        from bench.gate.judgement import Limits

        if not all(map(math.isfinite, (max_slowdown, max_growth, max_drop, max_label_drop))):
            raise CompressError(
                "--max-slowdown, --max-growth, --max-drop, --max-label-drop: give a number; infinity and NaN are none"
            )
        limits = Limits(
            max_slowdown=max_slowdown, max_growth=max_growth, max_drop=max_drop, max_label_drop=max_label_drop
        )
        return commands.check(
            commands.found_run(run, output, assigned_for_measuring(set_)), baseline, limits, listed(variants), json_
        )

    codes = {"pass": 0, "fail": 1, "inconclusive": 3, "not enough rows": 4}
    raise typer.Exit(codes[finish(work, json_, verbose).verdict])


@app.command(
    epilog="Examples:\n\n"
    "  compress bundle                          the fastest variant for this machine\n\n"
    "  compress bundle --variant onnx-int8 --accept tensorrt-fp16 --archive\n\n"
    "  compress bundle --set bundle.license=Apache-2.0 --sign private.pem"
)
def bundle(
    run: RunFolder = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="What to pack; can be repeated.", show_default="the fastest for this machine"
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Pack it even if it was not measured or not compared; the card says so."),
    ] = None,
    text_input: Annotated[
        bool, typer.Option("--text-input", help="Add graphs with the tokenizer inside, if their tokens are the same.")
    ] = False,
    web: Annotated[
        bool,
        typer.Option("--web", help="Pack for browsers instead: a page that asks the model with no server, in web/."),
    ] = False,
    archive: Annotated[bool, typer.Option("--archive", help="Write bundle.tar.zst too.")] = False,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign with this private key (PEM).")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="The signer's certificate, then its issuers'.")
    ] = None,
    set_: SetForBundle = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Pack variants for serving: models, Triton configuration, report, model card, client, bill of materials."""

    def work() -> BundleResult | WebResult:
        require("compress bundle", "export", "cpu")
        if web and (text_input or archive or sign or set_):
            raise CompressError("--web: packs no bundle: leave --text-input, --archive, --sign and --set out")
        if certificate and sign is None:
            raise CompressError("--certificate: there is nothing to sign with; name the key with --sign")
        from export.bundle.stage import Wanted

        wanted = Wanted(variant or (), accept or (), text_input, sign, certificate or ())
        found = commands.found_run(run, output, assigned_for_packing(set_))
        return commands.web(found, wanted, json_) if web else commands.bundle(found, wanted, archive, json_)

    finish(work, json_, verbose)


@app.command(
    epilog="Examples:\n\n"
    "  compress verify artifacts/latest/bundle\n\n"
    "  compress verify bundle.tar.zst --key public.pem --unpack /srv/models/bundle\n\n"
    "Exit codes: 0 every check passes, 1 one fails, 2 no bundle, or one that must not be unpacked"
)
def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder or .tar.zst.")],
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="The signer's public key.")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="Of those who issue signers' certificates.")
    ] = None,
    unpack: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Leave the archive's folder here if all is well.")
    ] = None,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Check a bundle: nothing altered, missing or added, the signature, and models that still say the same."""

    def work() -> Verification:
        require("compress verify", "cpu")
        if key and certificate:
            raise CompressError("--key beside --certificate: a bundle is signed with one of them; name the one")
        return commands.verify(bundle, key, certificate or [], unpack, json_)

    raise typer.Exit(0 if finish(work, json_, verbose).verdict == "pass" else 1)


app.command(epilog=certify.EPILOG)(certify.certify)
app.command(epilog=predict.EPILOG)(predict.predict)
app.command(epilog=serve.EPILOG)(serve.serve)


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
    verbose: Verbose = False,
) -> None:
    """All stages of a recipe; those whose inputs have not changed are skipped."""

    def work() -> RunResult:
        require("compress run", "distill", "export", "bench", "cpu")  # said before hours of work
        this = commands.new_run(recipe, {"export.tensorrt.enabled": True} if trt else {}, set_, output)
        parts = (commands.distill(this, json_), commands.export(this, json_), commands.bench(this, json_))
        from compress.cli.export_results import RunResult

        return RunResult(**{name: value for part in parts for name, value in dict(part).items()})

    finish(work, json_, verbose)


app.command(epilog=trim.EPILOG)(trim.trim)
app.command(epilog=fit.EPILOG)(fit.fit)


@app.command(epilog="Example:\n\n  compress doctor --json")
def doctor(
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """What this machine can build and run, and what to install for the rest."""

    def work() -> DoctorReport:
        from compress.cli.doctor import doctor_tables, examine

        report = examine(output)
        show(doctor_tables(report), json_)
        return report

    finish(work, json_, verbose)


app.command(epilog=recipe.EPILOG)(recipe.recipe)


def main() -> None:
    """Entry point: exit code 0, 2 for what the user can mend, 130 for Ctrl-C; `check` and `verify` have others."""
    bound_threads()
    open_streams()
    with written_output():
        app()
