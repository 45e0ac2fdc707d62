"""Static int8 and bf16 for OpenVINO, whose kernels are the faster ones on batches of long texts (see
`bench.studies.peers`)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import swallowed_output
from compress.errors import RejectedVariantError
from compress.recipe.export import CalibrationMethod
from compress.runtimes.openvino import OPENVINO_MODEL, OPENVINO_WEIGHTS, mark_bf16, openvino_core
from compress.targets import Target
from export.onnx.graphs import Announce, graphs_in
from export.onnx.plain import save_companions
from export.onnx.weights import weight_bytes
from export.quantize.int8 import Feeds, quantize_static_int8

_UNPACKED = 1.1  # by so much more OpenVINO's file may hold: constants that it has folded


def convert_openvino_int8(
    source: Path,
    folder: Path,
    target: Target,
    feeds: Feeds,
    method: CalibrationMethod,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
) -> None:
    """Write ``openvino_model.xml`` and its weights, as Optimum's ``OVModelFor…`` expect them.

    :param source: Folder with one fused graph, of an encoder.
    :param feeds: Real inputs, on which the ranges are found; ``method`` as for `quantize_static_int8`.
    :raises CompressError: If OpenVINO is not installed, or unpacks the quantised weights again.
    """
    core = openvino_core()
    import onnx_ir
    import openvino

    with TemporaryDirectory(dir=folder) as scratch:
        quantize_static_int8(source, Path(scratch), target, feeds, method, excluded, announce)
        (graph,) = Path(scratch).glob("*.onnx")
        with swallowed_output():
            model = core.read_model(graph)
            openvino.save_model(model, folder / OPENVINO_MODEL, compress_to_fp16=False)
        written, wanted = (folder / OPENVINO_WEIGHTS).stat().st_size, weight_bytes(onnx_ir.load(graph))
    if written > _UNPACKED * wanted:
        raise RejectedVariantError(
            f"{source}: OpenVINO wrote {written:,} bytes for weights that have {wanted:,} in 8 bits; leave this "
            "variant out (--variants)"
        )
    save_companions(source, folder)


def convert_openvino_bf16(source: Path, folder: Path, announce: Announce = nullcontext) -> None:
    """Write ``openvino_model.xml``, which says that it is to calculate in bf16, and its weights in 16 bits.

    The weights are in OpenVINO's usual half precision, which has more digits than bf16; it turns them when it opens
    the file.

    :param source: Folder with one plain graph, of an encoder.
    :raises CompressError: If OpenVINO is not installed.
    """
    core = openvino_core()
    import openvino

    (graph,) = graphs_in(source)
    with announce(graph.name), swallowed_output():
        model = core.read_model(graph)
        mark_bf16(model)
        openvino.save_model(model, folder / OPENVINO_MODEL, compress_to_fp16=True)
    save_companions(source, folder)
