"""Translation models to ONNX: encoder, decoder, and decoder with the keys and values of the tokens before.

Names of files, inputs and outputs are Optimum's, whose `ORTModelForSeq2SeqLM` loads the folder.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from compress.console import swallowed_output
from compress.runtimes.generation import DECODER, DECODER_WITH_PAST, ENCODER
from export.onnx.graphs import Announce, exported_graph

if TYPE_CHECKING:
    from onnx_ir import Model

_NAMES = {
    "decoder_input_ids": "input_ids",
    "attention_mask": "encoder_attention_mask",
    "encoder_outputs.last_hidden_state": "encoder_hidden_states",
}
_CACHED = re.compile(r"past_key_values\.(self|cross)_attention_cache\.layers\.(\d+)\.(key|value)s$")
_SIDES = {"self": "decoder", "cross": "encoder"}


def seq2seq_graphs(model: Any, announce: Announce = nullcontext, opset: int | None = None) -> dict[str, Model]:
    """The three graphs, by their files' names.

    :param model: A PyTorch model in evaluation mode.
    :param opset: Of their operators; none: 20.
    """
    for part in (model, model.get_decoder()):  # a training elsewhere may have left keys and values forgotten
        part.config.use_cache = True
    with swallowed_output():
        samples = _samples(model)
    graphs = {}
    for name, sample in samples.items():
        with announce(name), swallowed_output():
            part = model.get_encoder() if name == ENCODER else model
            graphs[name] = graph = exported_graph(part, sample, opset=opset)
            if name != ENCODER:
                _name_decoder(graph, with_past=name == DECODER_WITH_PAST)
            _name_dimensions(graph.graph)
    return graphs


def _name_decoder(model: Any, with_past: bool) -> None:
    """Optimum's names; what the encoder said already is neither asked for nor given again."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    graph = model.graph
    for value in graph.inputs:
        value.name = _NAMES.get(value.name) or _cached_name(value.name, "past_key_values")
    kept = []
    for value in graph.outputs:
        found = _CACHED.search(value.name)
        if value.name == "logits" or (found and not (with_past and found.group(1) == "cross")):
            value.name = _cached_name(value.name, "present") if found else value.name
            kept.append(value)
    graph.outputs[:] = sorted(kept, key=_by_layers)
    RemoveUnusedNodesPass()(model)
    graph.inputs[:] = sorted((value for value in graph.inputs if value.uses()), key=_by_layers)


def _by_layers(value: Any) -> tuple[int, list[str]]:
    """What keys and values come by: layer after layer, since Optimum takes them in fours; before them all others."""
    parts = value.name.split(".")
    return (int(parts[1]), parts[2:]) if len(parts) > 1 else (-1, [])


def _cached_name(name: str, prefix: str) -> str:
    found = _CACHED.search(name)
    if not found:
        raise ValueError(f"unexpected name {name}")
    side, layer, part = found.groups()
    return f"{prefix}.{layer}.{_SIDES[side]}.{part}"


def _name_dimensions(graph: Any) -> None:
    import onnx_ir

    is_decoder = any(value.name == "logits" for value in graph.outputs)
    named: dict[str, int | str] = {}
    for value in (*graph.inputs, *graph.outputs):
        cached = value.name.endswith((".key", ".value"))
        if cached and ".decoder." in value.name:
            length = "past_length" if value.name.startswith("past") else "present_length"
        elif value.name == "logits" or (is_decoder and value.name == "input_ids"):
            length = "decoder_sequence_length"
        else:
            length = "encoder_sequence_length"
        names = {0: "batch_size", (2 if cached else 1): length}
        sizes = [_dimension(size, names.get(axis)) for axis, size in enumerate(value.shape)]
        told = [(old, size) for old, size in zip(value.shape, sizes, strict=True) if not isinstance(old, int)]
        # What is given names a size: what is kept of the first tokens is as long as these are.
        named = {str(old): size for old, size in told if old.value is not None} | named
        value.shape = onnx_ir.Shape(sizes)
    for node in graph:  # the exporter has a symbol for each input's batch, and fusions look whether sizes are the same
        for value in node.outputs:
            if value.shape is not None:
                sizes = [size if isinstance(size, int) else named.get(str(size), size) for size in value.shape]
                value.shape = onnx_ir.Shape(sizes)


def _dimension(size: Any, name: str | None) -> int | str:
    """The name of a size that varies; the exporter leaves some constants as text."""
    if isinstance(size, int):
        return size
    return name or int(str(size.value))


def _samples(model: Any) -> dict[str, dict[str, Any]]:
    """Inputs whose sizes no other dimension has, so that nothing is taken for a constant."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    ids, mask = torch.ones((3, 11), dtype=torch.int64), torch.ones((3, 11), dtype=torch.int64)
    with torch.no_grad():
        states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        encoded = {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "attention_mask": mask}
        begun = model(**encoded, decoder_input_ids=torch.ones((3, 5), dtype=torch.int64), use_cache=True)
    return {
        ENCODER: {"input_ids": ids, "attention_mask": mask},
        DECODER: {**encoded, "decoder_input_ids": torch.ones((3, 5), dtype=torch.int64), "use_cache": True},
        DECODER_WITH_PAST: {
            **encoded,
            "decoder_input_ids": torch.ones((3, 1), dtype=torch.int64),
            "past_key_values": begun.past_key_values,
            "use_cache": True,
        },
    }
