"""PyTorch to plain ONNX. The one place that knows `transformers.exporters`, which is marked experimental."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from compress.console import swallowed_output
from compress.errors import CompressError
from compress.models import load_model, load_tokenizer
from compress.tasks import Task

SINGLE_FILE_LIMIT = 1_500_000_000  # bytes; protobuf ends at 2 GB


def export_onnx(task: Task, source: Path, folder: Path, labels: list[str]) -> dict[str, Any]:
    """Write ``model.onnx`` with dynamic batch and length, and tokenizer and configuration beside it.

    :param source: A ``save_pretrained`` folder.
    :return: Operator set, number of nodes, and the inputs' names.
    :raises CompressError: If the architecture cannot be exported.
    """
    model = load_model(task, str(source), labels, as_is=True).eval()
    tokenizer = load_tokenizer(str(source))
    try:
        with swallowed_output():
            graph = _exported(model, tokenizer)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CompressError(f"onnx: {model.config.model_type} cannot be exported ({reason})") from None
    save_graph(graph, folder / "model.onnx")
    save_companions(source, folder)
    return {
        "opset": graph.opset_imports[""],
        "nodes": sum(1 for _ in graph.graph.all_nodes()),
        "inputs": [value.name for value in graph.graph.inputs],
    }


def save_graph(graph: Any, path: Path) -> None:
    """Write an ``onnx_ir.Model``: one file below 1.5 GB, else the weights in ``model.onnx.data`` beside it."""
    import onnx_ir

    weights = sum(value.const_value.nbytes for value in graph.graph.initializers.values())
    onnx_ir.save(graph, path, external_data=f"{path.name}.data" if weights > SINGLE_FILE_LIMIT else None)


def save_companions(source: Path, folder: Path) -> None:
    """Put configuration and tokenizer beside a model, as Optimum and the hub lay out their folders."""
    from transformers import AutoConfig

    AutoConfig.from_pretrained(source).save_pretrained(folder)
    load_tokenizer(str(source)).save_pretrained(folder)


def _exported(model: Any, tokenizer: Any) -> Any:
    import torch

    accepted = inspect.signature(model.forward).parameters
    names = [name for name in tokenizer.model_input_names if name in accepted]
    # Sizes that no other dimension has, so that nothing is taken for a constant.
    sample: dict[str, Any] = {name: torch.ones((3, 11), dtype=torch.int64) for name in names}
    longest = getattr(model.config, "max_position_embeddings", None)
    length = torch.export.Dim("sequence_length", max=longest) if longest else torch.export.Dim("sequence_length")
    shapes = {name: {0: torch.export.Dim("batch_size"), 1: length} for name in names}
    graph = exported_graph(model, sample, shapes)
    for value in (*graph.graph.inputs, *graph.graph.outputs):
        _name_dimensions(value)
    return graph


def exported_graph(model: Any, sample: dict[str, Any], dynamic_shapes: dict[str, Any] | None = None) -> Any:
    """The ``onnx_ir.Model`` of a model that is called with a sample.

    :param dynamic_shapes: Which axes vary; none: all that the exporter can leave open.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    config = OnnxConfig(dynamic_shapes=dynamic_shapes) if dynamic_shapes else OnnxConfig(dynamic=True)
    exported = OnnxExporter().export(model, sample, config=config).program
    # The exporter notes the stack of every node: larger than a small student, and it names folders of this machine.
    return ClearMetadataAndDocStringPass()(exported).model


def _name_dimensions(value: Any) -> None:
    import onnx_ir

    names = ("batch_size", "sequence_length")
    value.shape = onnx_ir.Shape(
        [names[axis] if isinstance(size, onnx_ir.SymbolicDim) else size for axis, size in enumerate(value.shape)]
    )
