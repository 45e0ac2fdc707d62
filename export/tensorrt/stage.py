"""The engine stages: an engine for each graph of a variant, compared with it where a GPU can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from compress.console import say, working
from compress.data.summary import DATA
from compress.recipe.export import TensorRT
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.runtimes.tensorrt import EngineBuilder, choose_builder, gpu_name, runs_here
from compress.targets import Target
from compress.variants.engine import EngineSidecar
from compress.variants.registry import ENGINES, EnginePrecision, Variant
from export.onnx.graphs import graphs_in
from export.tensorrt.builder import EngineRequest, build_engine
from export.tensorrt.settings import resolved, timing_cache
from export.variants.parity import check_parity, measure_parity, tolerance_for
from export.variants.sample import Sample
from export.variants.summary import Parity, VariantSummary, variant_stage


def run_engine_stage(run: Run, precision: EnginePrecision, target: Target, sample: Sample) -> VariantSummary:
    """Fill ``tensorrt-<precision>/`` with an engine for each graph of its parent; compared with it where a GPU can.

    :raises CompressError: If TensorRT refuses a graph, or the engine is too far from its parent.
    """
    engine, builder = ENGINES[precision], choose_builder()
    settings = resolved(run.recipe.export.tensorrt, run.recipe.data.max_length, target)
    inputs = {
        **settings.model_dump(mode="json", exclude={"enabled", "precisions"}),
        "builder": builder.name,
        "version": builder.version,
        "gpu": gpu_name(),
    }

    def build(folder: Path, _: Path) -> VariantSummary:
        engines = _build(run, precision, builder, settings, folder)
        parity = None
        if len(run.task.GRAPHS) == 1 and not settings.strip_weights and runs_here(engines[0]):
            parity = _parity(run, engine, folder, engines[0], sample)
        return VariantSummary(
            form=engine.name,
            parent=engine.parent,
            tolerance=tolerance_for(engine, run.recipe.export),
            target=engines[0].generations,
            bytes=sum(sidecar.bytes for sidecar in engines),
            engines=engines,
            parity=parity,
        )

    return run_stage(run, variant_stage(engine.name), inputs, (DATA.name, engine.parent), build)


def _build(
    run: Run, precision: EnginePrecision, builder: EngineBuilder, settings: TensorRT, folder: Path
) -> list[EngineSidecar]:
    engine = ENGINES[precision]
    if run.task.GENERATES:
        say(f"{engine.name}: nothing here runs engines of models that write: they are built for a program of yours")
    say(f"{engine.name}: building with {builder.name} {builder.version}")
    graphs, cache = graphs_in(run.path_of(engine.parent)), timing_cache(builder, run.folder.parent)
    request = EngineRequest(graphs[0], engine.parent, precision, settings, cache)
    built = []
    for graph in graphs:
        with working(f"{engine.name}: building an engine of {graph.name}"):
            built.append(build_engine(builder, replace(request, graph=graph), folder))
    return built


def _parity(run: Run, engine: Variant, folder: Path, sidecar: EngineSidecar, sample: Sample) -> Parity:
    """Compare what the engine says with what its ONNX says in ONNX Runtime."""
    with working(f"{engine.name}: comparing with {engine.parent} on {len(sample.rows)} rows"):
        parent = sample.answers_of(run.path_of(engine.parent))
        parity = measure_parity(run.task, parent, sample.answers(folder, sidecar.largest_batch))
    check_parity(engine.name, engine.parent, parity, tolerance_for(engine, run.recipe.export))
    return parity
