"""Engines of a run's variants, and of ONNX files from elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rich.table import Table

from compress.console import say
from compress.errors import CompressError
from compress.recipe.export import TensorRT
from compress.runs.run import Run, run_stage
from compress.runtimes.predict import predict_examples
from compress.runtimes.tensorrt import load_engine, runs_here
from compress.targets import Target
from export.onnx.checks import check_onnx
from export.quantize.int8 import in_half_precision
from export.tensorrt.builder import EngineBuilder, EngineRequest, build_engine, check_options, choose_builder, gpu_name
from export.tensorrt.profiles import short_and_long
from export.variants.parity import Answers, check_parity, measure_parity

if TYPE_CHECKING:
    from export.stage import Sample


def run_engine_stage(run: Run, precision: str, source: str, target: Target, sample: Sample) -> dict[str, Any]:
    """Fill ``tensorrt-<precision>/`` with an engine for each graph of a variant; compared with it where a GPU can."""
    builder = choose_builder()
    settings = resolved(run.recipe.export.tensorrt, run.recipe.data.max_length, target)
    inputs = {
        **settings.model_dump(mode="json", exclude={"enabled", "precisions"}),
        "builder": builder.name,
        "version": builder.version,
        "gpu": gpu_name(),
    }

    def build(folder: Path, _: Path) -> dict[str, Any]:
        say(f"tensorrt-{precision}: building with {builder.name} {builder.version}")
        graphs = sorted(run.path_of(source).glob("*.onnx"))
        request = EngineRequest(graphs[0], source, precision, settings, _timing_cache(builder, run.folder.parent))
        engines = [build_engine(builder, replace(request, graph=graph), folder) for graph in graphs]
        described = {
            "parent": source,
            "target": ", ".join(f"sm{sm}" for sm in engines[0]["sm"]),
            "bytes": sum(engine["bytes"] for engine in engines),
            "engines": engines,
        }
        if not run.task.GENERATES and not settings.strip_weights and runs_here(engines[0]):
            described["parity"] = _parity(run, builder, folder, engines[0], sample)
        return described

    return run_stage(run, f"tensorrt-{precision}", inputs, ("data", source), build)


def compile_onnx(path: Path, output: Path, settings: TensorRT, precision: str | None) -> dict[str, Any]:
    """Build an engine of an ONNX file from elsewhere: ``<output>/<name>/tensorrt-<precision>/``.

    :param precision: None: what the graph has. Half precision is made of a graph in 32 bits where it is asked for.
    :return: The engine's sidecar, and its ``folder``.
    :raises CompressError: If the file is not one that can be used.
    """
    import onnx

    builder = choose_builder()
    check_options(builder, settings)
    check_onnx(path)
    own = precision_of(path)
    wanted = precision or own
    if wanted != own and (own, wanted) != ("fp32", "fp16"):
        raise CompressError(
            f"{path}: the graph is in {own}, so an engine in {wanted} cannot be built from it; leave out --precision, "
            "or export the variant that you want from a run"
        )
    folder = output / path.stem / f"tensorrt-{wanted}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as scratch:
        filling, graph, parent = Path(scratch) / folder.name, path, path.parent
        filling.mkdir()
        if wanted != own:  # what the engine is built from lies beside it: it can be built again
            graph, parent = filling / path.name, folder
            onnx.save(in_half_precision(onnx.load(path)), graph)
        say(f"tensorrt-{wanted}: building with {builder.name} {builder.version}")
        request = EngineRequest(graph, str(parent), wanted, settings, _timing_cache(builder, output))
        sidecar = build_engine(builder, request, filling)
        if folder.exists():
            shutil.rmtree(folder)
        filling.rename(folder)
    return {"folder": str(folder), **sidecar}


def engine_table(sidecar: dict[str, Any]) -> Table:
    """What was built, for people."""
    table = Table(title=f"{sidecar['folder']}/{sidecar['engine']}", show_header=False)
    shapes = [
        "batch {}…{}, length {}…{}".format(
            *(profile[edge][axis] for axis in ("batch", "length") for edge in ("minimum", "maximum"))
        )
        for profile in sidecar["profiles"]
    ]
    table.add_row("builder", f"{sidecar['builder']} {sidecar['version']}")
    table.add_row("precision", sidecar["precision"])
    table.add_row("GPU generations", ", ".join(f"sm{sm}" for sm in sidecar["sm"]))
    table.add_row("profiles", "; ".join(shapes))
    table.add_row("MB", f"{sidecar['bytes'] / 1e6:.2f}")
    table.add_row("the same with trtexec", sidecar["trtexec"])
    return table


def precision_of(path: Path) -> str:
    """The precision of a graph's weights: ``int8`` where it has pairs of QuantizeLinear and DequantizeLinear."""
    import onnx_ir

    graph = onnx_ir.load(path).graph
    if any(node.op_type == "DequantizeLinear" for node in graph):
        return "int8"
    weights = [value.const_value for value in graph.initializers.values() if value.const_value is not None]
    half = sum(weight.nbytes for weight in weights if weight.dtype == onnx_ir.DataType.FLOAT16)
    whole = sum(weight.nbytes for weight in weights if weight.dtype == onnx_ir.DataType.FLOAT)
    return "fp16" if half > whole else "fp32"


def resolved(settings: TensorRT, longest: int, target: Target | None = None) -> TensorRT:
    """The options with what follows from the rest of the recipe where they leave it open.

    :param longest: Tokens of the longest row, from which the profiles follow.
    :param target: If it is a GPU, it decides the generation.
    """
    found: dict[str, Any] = {}
    if settings.profiles is None:
        found["profiles"] = short_and_long(longest)
    if settings.sm is None and target is not None and target.generation is not None:
        found["sm"] = [target.generation]
    return settings.model_copy(update=found)


def _parity(run: Run, builder: EngineBuilder, folder: Path, sidecar: dict[str, Any], sample: Sample) -> dict[str, Any]:
    """Compare what the engine says with what its ONNX says in ONNX Runtime."""
    predict = load_engine(builder, folder / sidecar["engine"], run.task)
    batch = min(profile["maximum"]["batch"] for profile in sidecar["profiles"])
    outputs = predict_examples(predict, run.task, sample.examples, sample.tokenizer.pad_token_id, batch)
    predictions = run.task.decode(outputs, sample.examples, sample.rows, sample.labels, sample.tokenizer)
    precision, source = sidecar["precision"], sidecar["parent"]
    parity = measure_parity(sample.answers(run.path_of(source)), Answers(outputs, predictions))
    tolerances = run.recipe.export.parity
    limits = {"fp16": tolerances.fp16, "int8": tolerances.int8, "fp32": tolerances.fp16}  # TF32 may be used
    check_parity(f"tensorrt-{precision}", source, parity, limits[precision])
    return parity.as_dict()


def _timing_cache(builder: EngineBuilder, output: Path) -> Path | None:
    """Where the native builder keeps what it timed: one file for each GPU and version."""
    if builder.ahead_of_time:
        return None
    gpu = (gpu_name() or "").replace(" ", "-")
    return output / ".cache" / "timing" / f"{gpu}-{builder.version}.cache"
