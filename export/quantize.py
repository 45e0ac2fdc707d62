"""Variants of the plain ONNX graph in other precisions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import swallowed_output
from compress.target import Target
from export.to_onnx import save_companions


def quantize_int8(source: Path, folder: Path, target: Target) -> None:
    """Dynamic int8: weights per channel ahead of time, activations at run time.

    :param source: Folder with the plain graphs.
    """
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with swallowed_output(), TemporaryDirectory(dir=folder) as scratch:
        for graph in source.glob("*.onnx"):
            # Weights that two nodes share, one of them transposed, become two: else one is unpacked in every run.
            folded = Path(scratch) / graph.name
            quant_pre_process(graph, folded, skip_symbolic_shape=True, skip_onnx_shape=True)
            quantize_dynamic(
                folded,
                folder / graph.name,
                per_channel=True,
                reduce_range=target.reduce_range,
                weight_type=QuantType.QInt8,
            )
    save_companions(source, folder)


def convert_fp16(source: Path, folder: Path) -> None:
    """Half precision inside, the inputs and outputs as they were."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with swallowed_output():
        for graph in source.glob("*.onnx"):
            onnx.save(convert_float_to_float16(onnx.load(graph), keep_io_types=True), folder / graph.name)
    save_companions(source, folder)
