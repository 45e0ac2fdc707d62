"""The engine stages: an engine for each graph of a variant, compared with it where a GPU can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import say
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runtimes.predict import predict_examples
from compress.runtimes.tensorrt import load_engine, runs_here
from compress.targets import Target
from export.tensorrt.builder import EngineBuilder, EngineRequest, build_engine, choose_builder, gpu_name
from export.tensorrt.settings import resolved, timing_cache
from export.variants.parity import Answers, check_parity, measure_parity

if TYPE_CHECKING:
    from export.variants.sample import Sample


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
        request = EngineRequest(graphs[0], source, precision, settings, timing_cache(builder, run.folder.parent))
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
