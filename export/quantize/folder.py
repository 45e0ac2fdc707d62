"""All graphs of a folder, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import swallowed_output
from export.onnx.plain import save_companions


def convert_folder(source: Path, folder: Path, convert: Callable[[Path, Path], None]) -> None:
    from onnxruntime.quantization import quant_pre_process

    with swallowed_output(), TemporaryDirectory(dir=folder) as scratch:
        for graph in sorted(source.glob("*.onnx")):
            # Weights that two nodes share, one of them transposed, become two: else one is unpacked in every run.
            folded = Path(scratch) / graph.name
            quant_pre_process(graph, folded, skip_symbolic_shape=True, skip_onnx_shape=True)
            convert(folded, folder / graph.name)
    save_companions(source, folder)
