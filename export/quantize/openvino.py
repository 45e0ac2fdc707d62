"""Static int8 for OpenVINO, whose kernels are the faster ones on batches of long texts (see `bench.studies.peers`)."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import swallowed_output
from compress.errors import RejectedVariantError
from compress.recipe.export import CalibrationMethod
from compress.runtimes.openvino import OPENVINO_MODEL, OPENVINO_WEIGHTS, openvino_core
from compress.targets import Target
from export.onnx.graphs import Announce
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
