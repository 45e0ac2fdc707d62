"""Static int8 and bf16 for OpenVINO, whose kernels are the faster ones on batches of long texts (see
`bench.studies.peers`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from compress.console import swallowed_output
from compress.errors import RejectedVariantError
from compress.recipe.export import CalibrationMethod
from compress.runtimes.generation import DECODER, ENCODER
from compress.runtimes.openvino import (
    OPENVINO_DECODER,
    OPENVINO_ENCODER,
    OPENVINO_MODEL,
    mark_precision,
    openvino_core,
    reason_in_one_line,
)
from compress.targets import Target
from export.onnx.graphs import Announce, graphs_in
from export.onnx.plain import save_companions
from export.onnx.weights import weight_bytes
from export.quantize.embeddings import EmbeddingBits
from export.quantize.int8 import quantize_static_int8
from export.quantize.ranges import Calibrate
from export.quantize.stateful import stateful_decoder

_UNPACKED = 1.1  # by so much more OpenVINO's file may hold: constants that it has folded


def convert_openvino_int8(
    source: Path,
    folder: Path,
    target: Target,
    calibrate: Calibrate,
    method: CalibrationMethod,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
    embedding_bits: EmbeddingBits = 8,
) -> None:
    """Write OpenVINO's models and their weights, as Optimum's ``OVModelFor…`` expect them.

    :param source: Folder with fused graphs.
    :param calibrate: Shows what is seen on real inputs; it and ``method`` as for `quantize_static_int8`.
    :raises CompressError: If OpenVINO is not installed, or unpacks the quantised weights again.
    """
    core = openvino_core()
    with TemporaryDirectory(dir=folder) as scratch:
        quantize_static_int8(source, Path(scratch), target, calibrate, method, excluded, announce, embedding_bits)
        for name, graph in _graphs_of_models(Path(scratch)).items():
            _save(core, graph, folder / name, "f32")
            _check_size(source, graph, (folder / name).with_suffix(".bin"))
    save_companions(source, folder)


def convert_openvino_bf16(source: Path, folder: Path, announce: Announce = nullcontext) -> None:
    """Write OpenVINO's models, which say that they are to calculate in bf16, and their weights in 16 bits.

    The weights are in OpenVINO's usual half precision, which has more digits than bf16; it turns them when it opens
    the file.

    :param source: Folder with plain graphs.
    :raises CompressError: If OpenVINO is not installed.
    """
    core = openvino_core()
    for name, graph in _graphs_of_models(source).items():
        with announce(graph.name):
            _save(core, graph, folder / name, "bf16")
    save_companions(source, folder)


def _graphs_of_models(folder: Path) -> Mapping[str, Path]:
    """By the name of a model's file, the graph that has all its weights."""
    graphs = graphs_in(folder)
    if len(graphs) == 1:
        return {OPENVINO_MODEL: graphs[0]}
    return {OPENVINO_ENCODER: folder / ENCODER, OPENVINO_DECODER: folder / DECODER}


def _save(core: Any, graph: Path, path: Path, precision: Literal["f32", "bf16"]) -> None:
    """Write the model of a graph, of a translator's decoder of both of them."""
    import openvino

    with swallowed_output(), reason_in_one_line(graph, "install the extra `openvino`, whose version can"):
        model = stateful_decoder(core, graph.parent) if path.name == OPENVINO_DECODER else core.read_model(graph)
        mark_precision(model, precision)
        openvino.save_model(model, path, compress_to_fp16=precision == "bf16")


def _check_size(source: Path, graph: Path, weights: Path) -> None:
    import onnx_ir

    written, wanted = weights.stat().st_size, weight_bytes(onnx_ir.load(graph))
    if written > _UNPACKED * wanted:
        raise RejectedVariantError(
            f"{source}: OpenVINO wrote {written:,} bytes for weights that have {wanted:,} in 8 bits; leave this "
            "variant out (--variants)"
        )
