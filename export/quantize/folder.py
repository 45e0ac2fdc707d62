"""All graphs of a folder, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.console import swallowed_output
from export.onnx.graphs import Announce
from export.onnx.plain import save_companions


def convert_folder(source: Path, folder: Path, convert: Callable[[Path, Path], None], announce: Announce) -> None:
    """Convert each graph of a folder into another folder, and put what lies beside them there.

    :param convert: Called with a graph that is ready for quantisation, and the file to write.
    """
    from onnxruntime.quantization import quant_pre_process

    with TemporaryDirectory(dir=folder) as scratch:
        for graph in sorted(source.glob("*.onnx")):
            folded = Path(scratch) / graph.name
            with announce(graph.name), swallowed_output():
                # Weights that two nodes share, one of them transposed, become two: else one is unpacked in every run.
                quant_pre_process(graph, folded, skip_symbolic_shape=True, skip_onnx_shape=True)
                convert(folded, folder / graph.name)
    save_companions(source, folder)
