"""`compress export`: a run's student, or any model as it is, in the forms that serve it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from compress.cli import commands
from compress.cli.options import (
    ARTIFACTS,
    Json,
    Output,
    Revision,
    Set,
    Subfolder,
    Token,
    TrustRemoteCode,
    Verbose,
    access,
    assigned,
    given,
    listed,
)
from compress.cli.outcome import finish
from compress.errors import CompressError
from compress.extras import require
from compress.variants.registry import SelectableName

if TYPE_CHECKING:
    from compress.cli.export_results import EngineResult, ExplainResult, ExportResult

EPILOG = (
    "Examples:\n\n"
    "  compress export                            what this machine is best served with\n\n"
    "  compress export my-model/ --data rows.jsonl   a model as it is, without any training\n\n"
    "  compress export --budget 1.0               the fastest variant that loses at most a point in any language\n\n"
    "  compress export --trt --precision fp16,int8 --sm 86,89\n\n"
    "  compress export --trt --explain            what TensorRT would make of it\n\n"
    "  compress export --onnx model.onnx --trt --profile 1:8:32,1:32:64 --profile 1:1:4,64:128:256"
)


def export(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN | MODEL]",
            help="Run directory; with --data, a model that is exported as it is: folder or hub id.",
            show_default="the latest",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Rows for a MODEL, with or without labels: file, folder …")] = None,
    task: Annotated[str | None, typer.Option(help="What the MODEL is for.", show_default="as it tells")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the MODEL's run.", show_default="the model's")] = None,
    revision: Revision = None,
    subfolder: Subfolder = None,
    token: Token = None,
    trust_remote_code: TrustRemoteCode = False,
    target: Annotated[
        str | None, typer.Option(help="What variants are for: cpu-avx2, cpu-vnni, cuda-sm89, web, … or auto.")
    ] = None,
    variants: Annotated[str | None, typer.Option(help=f"Which: {','.join(get_args(SelectableName))}.")] = None,
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
    verbose: Verbose = False,
) -> None:
    """Export a student, or any model as it is, to ONNX, quantise it, build TensorRT engines; each is checked."""
    overrides = {
        "export.target": target,
        "export.variants": listed(variants),
        "export.budget.points": budget,
        "export.tensorrt.enabled": True if trt else None,
        "export.tensorrt.precisions": listed(precision),
        "export.tensorrt.sm": listed(sm),
    }

    def work() -> ExportResult | ExplainResult | EngineResult:
        require("compress export", "export", "cpu")
        wanted = given(overrides)
        if profile:
            from export.tensorrt.profiles import parse_profile

            wanted |= given({"export.tensorrt.profiles": [parse_profile(text) for text in profile]})
        wanted |= assigned(set_)
        if not trt and (explain or onnx):
            raise CompressError(f"{'--explain' if explain else '--onnx'} is about TensorRT: add --trt")
        if onnx is not None and explain:
            return commands.explain_file(onnx, wanted, json_)
        if onnx is not None:
            return commands.compile_file(onnx, output, wanted, precision, json_)
        model = given({"task": task, "name": name}) | access(revision, subfolder, token, trust_remote_code)
        if data is not None:
            found = commands.taken_run(run, data, {**model, **wanted}, output, json_)
        else:
            found = commands.run_to_export(run, model, output, wanted)
        return commands.explain(found, json_) if explain else commands.export(found, json_)

    finish(work, json_, verbose)
