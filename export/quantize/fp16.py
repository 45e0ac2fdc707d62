"""Half precision."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from compress.console import swallowed_output
from export.onnx.graphs import Announce
from export.onnx.plain import save_companions


def convert_fp16(source: Path, folder: Path, announce: Announce = nullcontext) -> None:
    """Half precision inside, the inputs and outputs as they were."""
    import onnx

    for graph in sorted(source.glob("*.onnx")):
        with announce(graph.name), swallowed_output():
            onnx.save(in_half_precision(onnx.load(graph)), folder / graph.name)
    save_companions(source, folder)


def in_half_precision(model: Any) -> Any:
    """An ``onnx.ModelProto`` in half precision inside, its inputs and outputs as they were."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)
