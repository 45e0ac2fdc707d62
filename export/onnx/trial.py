"""Whether an architecture can be exported: tried with an untrained model, before anything that takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.console import swallowed_output
from compress.errors import CompressError, first_line
from compress.models.load import without_weights
from compress.models.outputs import outputs_of
from compress.models.source import StrPath
from compress.runtimes.generation import OnnxDecoder
from compress.runtimes.onnx import load_onnx
from compress.tasks.contract import Task
from export.onnx.plain import graphs_of, not_exported
from export.onnx.weights import save_graph

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_FEWEST_TOKENS = 64
_LARGEST_DIFFERENCE = 1e-3
_SHAPES = ((1, 7), (4, 10))  # other ones than the exporter's sample has


def try_export(
    task: Task,
    config: PreTrainedConfig,
    inputs: Sequence[str],
    source: StrPath = "",
    trust_remote_code: bool = False,
    opset: int | None = None,
) -> None:
    """Export a new model, with embeddings of few tokens, and compare what ONNX Runtime and PyTorch compute.

    :param config: Of the model that is to be trained.
    :param inputs: What its tokenizer gives.
    :param source: Where that is from.
    :param trust_remote_code: Run code that the configuration names.
    :param opset: Of the graphs' operators; none: 20.
    :raises CompressError: If the architecture cannot be exported, or its graph computes something else.
    """
    named = [value for name, value in config.to_dict().items() if name.endswith("_token_id") and isinstance(value, int)]
    fewer = type(config).from_dict(
        {**config.to_dict(), "vocab_size": max([_FEWEST_TOKENS, *(value + 1 for value in named)])}
    )
    with swallowed_output():
        model = without_weights(task, source, fewer, trust_remote_code).eval()
    graphs = graphs_of(task, model, inputs, opset=opset)
    with TemporaryDirectory() as folder:
        for name, graph in graphs.items():
            save_graph(graph, Path(folder) / name)
        fewer.save_pretrained(folder)
        try:
            difference = max(_difference(task, model, Path(folder), shape) for shape in _SHAPES)
        except Exception as error:
            reason = f"ONNX Runtime cannot run its graph: {first_line(error)}"
            raise CompressError(not_exported(task, config, reason)) from error
    if not difference <= _LARGEST_DIFFERENCE:
        raise CompressError(not_exported(task, config, f"its graph's outputs differ by {difference:.2g}"))


def _difference(task: Task, model: Any, folder: Path, shape: tuple[int, int]) -> float:
    """The largest difference of the outputs for random tokens, int64 (rows, tokens)."""
    import torch

    tokens = np.random.default_rng(0).integers(3, _FEWEST_TOKENS, shape)
    if isinstance(end := getattr(model.config, "eos_token_id", None), int):
        tokens[:, -1] = end  # where some heads read
    feed = {"input_ids": tokens, "attention_mask": np.ones(shape, np.int64)}
    if task.GENERATES:
        found = OnnxDecoder(folder).begin(feed, tokens[:, :3])[0]
        feed["decoder_input_ids"] = tokens[:, :3]
    else:
        found = load_onnx(folder / task.GRAPHS[0], task)(feed)
    with torch.inference_mode():
        wanted = outputs_of(model(**{name: torch.from_numpy(array) for name, array in feed.items()}), task.OUTPUTS)
    return float(np.abs(found - wanted.numpy()).max())
