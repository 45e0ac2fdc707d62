"""From a folder with a PyTorch model to a folder with plain ONNX."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import swallowed_output
from compress.errors import CompressError, first_line
from compress.models.load import load_model, load_tokenizer
from compress.models.pooling import usual_config
from compress.models.sentence_folder import MODULES
from compress.models.sentence_layout import module_folders
from compress.runs.files import write_json
from compress.tasks.contract import Task
from export.onnx.graphs import Announce, GraphFacts, exported_graph
from export.onnx.heads import head_at_the_end, reads_at_the_end
from export.onnx.seq2seq import seq2seq_graphs
from export.onnx.weights import save_graphs

if TYPE_CHECKING:
    from onnx_ir import Model
    from transformers import PreTrainedConfig

_CODE = "auto_map"  # which configurations name classes of their own by
_WEIGHTS_AND_GRAPHS = (".safetensors", ".index.json", ".onnx", "data", ".xml", ".bin")


def export_onnx(
    task: Task,
    source: Path,
    folder: Path,
    labels: list[str],
    announce: Announce = nullcontext,
    trust_remote_code: bool = False,
    opset: int | None = None,
) -> GraphFacts:
    """Write ``model.onnx``, or the graphs of `export.onnx.seq2seq`, with dynamic batch and length, and tokenizer and
    configuration beside it.

    :param source: A ``save_pretrained`` folder.
    :param announce: Says what is being done.
    :param trust_remote_code: Run code that lies beside the model.
    :param opset: Of the graphs' operators; none: 20.
    :raises CompressError: If the architecture cannot be exported.
    """
    with announce("loading the model"):
        model = load_model(task, source, labels, trust_remote_code).eval()
        tokenizer = load_tokenizer(source, trust_remote_code)
    graphs = graphs_of(task, model, tokenizer.model_input_names, announce, opset)
    save_graphs(list(graphs), graphs.__getitem__, folder)
    save_companions(source, folder)
    first = next(iter(graphs.values()))
    return GraphFacts(
        opset=first.opset_imports[""],
        nodes=sum(sum(1 for _ in graph.graph.all_nodes()) for graph in graphs.values()),
        inputs=[value.name for value in first.graph.inputs],
    )


def save_companions(source: Path, folder: Path) -> None:
    """Put configuration and tokenizer beside a model, as Optimum and the hub lay out their folders.

    Graphs need no code, and have a pooling inside: none of the model's code goes with them, and none of its tokenizer's
    unless that has some. What comes after a transformer goes with them for clients that pool by themselves.
    """
    config = json.loads((source / "config.json").read_text("utf-8"))
    config.pop(_CODE, None)
    write_json(folder / "config.json", usual_config(config))
    told = source / "tokenizer_config.json"
    has_code = told.is_file() and _CODE in json.loads(told.read_text("utf-8"))
    places = module_folders(source)
    left = (*_WEIGHTS_AND_GRAPHS, *([] if has_code else [".py"]), *([] if places else [MODULES]))
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != "config.json" and not path.name.endswith(left):
            shutil.copyfile(path, folder / path.name)
    for place in places:
        shutil.copytree(source / place, folder / place, copy_function=shutil.copyfile)


def graphs_of(
    task: Task, model: Any, inputs: Sequence[str], announce: Announce = nullcontext, opset: int | None = None
) -> dict[str, Model]:
    """The graphs of a PyTorch model, by their files' names.

    :param inputs: What its tokenizer gives.
    :param opset: Of their operators; none: 20.
    :raises CompressError: If the architecture cannot be exported.
    """
    try:
        if len(task.GRAPHS) > 1:
            return seq2seq_graphs(model, lambda name: announce(f"exporting {name}"), opset)
        (name,) = task.GRAPHS
        with announce(f"exporting {name}"), swallowed_output(), head_at_the_end(model):
            return {name: _encoder_graph(model, inputs, opset)}
    except Exception as error:
        raise CompressError(not_exported(task, model.config, first_line(error))) from error


def not_exported(task: Task, config: PreTrainedConfig, reason: str) -> str:
    """In one line, why an architecture cannot be exported, and what can."""
    known = "Marian, M2M100, NLLB or mBART-50" if task.GENERATES else "XLM-R, BERT, ModernBERT or Llama"
    told = f"onnx: {config.model_type} cannot be exported ({reason})"
    return f"{told}; name a model of another architecture, such as {known}"


def _encoder_graph(model: Any, inputs: Sequence[str], opset: int | None) -> Any:
    import torch

    accepted = getattr(model, "accepted", None) or inspect.signature(model.forward).parameters
    names = [name for name in inputs if name in accepted]
    model.config.use_cache = False  # a decoder with a head (Llama, Qwen3) would give its keys and values too
    # Sizes that no other dimension has, so that nothing is taken for a constant.
    sample: dict[str, Any] = {name: torch.ones((3, 11), dtype=torch.int64) for name in names}
    longest = getattr(model.config, "max_position_embeddings", None)
    limits = {"max": longest} if longest else {}
    if reads_at_the_end(model):
        limits["min"] = 3  # a decoder reads one token less, and one alone would be another case
    length = torch.export.Dim("sequence_length", **limits)
    shapes = {name: {0: torch.export.Dim("batch_size"), 1: length} for name in names}
    graph = exported_graph(model, sample, shapes, opset)
    for value in (*graph.graph.inputs, *graph.graph.outputs):
        _name_dimensions(value)
    return graph


def _name_dimensions(value: Any) -> None:
    import onnx_ir

    names = ("batch_size", "sequence_length")
    value.shape = onnx_ir.Shape(
        [names[axis] if isinstance(size, onnx_ir.SymbolicDim) else size for axis, size in enumerate(value.shape)]
    )
