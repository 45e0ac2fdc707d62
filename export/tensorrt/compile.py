"""Engines of ONNX files from elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from compress.console import table, working
from compress.contract import Contract
from compress.errors import CompressError
from compress.recipe.export import TensorRT
from compress.runtimes.tensorrt import choose_builder
from compress.variants.engine import EngineSidecar
from compress.variants.registry import ENGINES, EnginePrecision
from export.onnx.checks import check_onnx
from export.onnx.weights import save_graph
from export.quantize.fp16 import in_half_precision
from export.tensorrt.builder import EngineRequest, build_engine, check_options
from export.tensorrt.settings import timing_cache


class CompiledEngine(Contract):
    """An engine of an ONNX file, and the folder that it lies in."""

    folder: Path
    sidecar: EngineSidecar


def compile_onnx(path: Path, output: Path, settings: TensorRT, precision: EnginePrecision | None) -> CompiledEngine:
    """Build an engine of an ONNX file from elsewhere: ``<output>/<name>/tensorrt-<precision>/``.

    :param precision: None: what the graph has. Half precision is made of a graph in 32 bits where it is asked for.
    :raises CompressError: If the file is not one that can be used.
    """
    import onnx_ir

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
    name = ENGINES[wanted].name
    folder = output / path.stem / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as scratch:
        filling, graph, parent = Path(scratch) / folder.name, path, path.parent
        filling.mkdir()
        if wanted != own:  # what the engine is built from lies beside it: it can be built again
            graph, parent = filling / path.name, folder
            with working(f"{name}: converting {path.name}"):
                save_graph(in_half_precision(onnx_ir.load(path)), graph)
        with working(f"{name}: building with {builder.name} {builder.version}"):
            request = EngineRequest(graph, str(parent), wanted, settings, timing_cache(builder, output))
            sidecar = build_engine(builder, request, filling)
        if folder.exists():
            shutil.rmtree(folder)
        filling.rename(folder)
    return CompiledEngine(folder=folder, sidecar=sidecar)


def engine_table(engine: CompiledEngine) -> Table:
    """What was built, for people."""
    sidecar = engine.sidecar
    shapes = [
        f"batch {profile.minimum.batch}…{profile.maximum.batch}, "
        f"length {profile.minimum.length}…{profile.maximum.length}"
        for profile in sidecar.profiles
    ]
    rows = [
        ("builder", f"{sidecar.builder} {sidecar.version}"),
        ("precision", sidecar.precision),
        ("GPU generations", sidecar.generations),
        ("profiles", "; ".join(shapes)),
        ("MB", f"{sidecar.bytes / 1e6:.2f}"),
        ("the same with trtexec", sidecar.trtexec),
    ]
    return table(f"{engine.folder}/{sidecar.engine}", ("", ""), rows, left=2)


def precision_of(path: Path) -> EnginePrecision:
    """The precision of a graph's weights: ``int8`` where it has pairs of QuantizeLinear and DequantizeLinear."""
    import onnx_ir

    graph = onnx_ir.load(path).graph
    if any(node.op_type == "DequantizeLinear" for node in graph):
        return "int8"
    weights = [value.const_value for value in graph.initializers.values() if value.const_value is not None]
    half = sum(weight.nbytes for weight in weights if weight.dtype == onnx_ir.DataType.FLOAT16)
    whole = sum(weight.nbytes for weight in weights if weight.dtype == onnx_ir.DataType.FLOAT)
    return "fp16" if half > whole else "fp32"
