"""Encoders with a head for three classes, built in milliseconds, and their plain ONNX."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
import transformers

from export.onnx.graphs import exported_graph
from export.onnx.weights import save_graph

_SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "num_labels": 3,
}
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
CONFIGS: Mapping[str, Any] = {
    "bert": lambda: transformers.BertConfig(**_SIZES),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**_SIZES),
    # Rotary positions, and layers that see their neighbours only.
    "modernbert": lambda: transformers.ModernBertConfig(
        **_SIZES, **_TOKENS, local_attention=4, global_attn_every_n_layers=2
    ),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=50, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=3
    ),
    # Attention of a kind of its own, which no pattern knows.
    "deberta-v2": lambda: transformers.DebertaV2Config(**_SIZES),
}


def write_onnx(name: str, path: Path, opset: int | None = None) -> Path:
    """Export an encoder with random weights and dynamic batch and length."""
    path.write_bytes(_exported(name, opset))
    return path


@functools.cache
def _exported(name: str, opset: int | None) -> bytes:
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for weights in model.parameters():  # new weights are small: every layer is to matter
            weights.add_(torch.randn_like(weights), alpha=0.2)
    shapes = {0: torch.export.Dim("batch_size"), 1: torch.export.Dim("sequence_length", max=64)}
    names = ("input_ids", "attention_mask")
    sample = {name: torch.ones((3, 11), dtype=torch.int64) for name in names}
    with TemporaryDirectory() as folder:
        save_graph(exported_graph(model, sample, dict.fromkeys(names, shapes), opset), Path(folder) / "model.onnx")
        return (Path(folder) / "model.onnx").read_bytes()


def inputs(rows: int = 3, length: int = 9, padding: int = 3) -> dict[str, np.ndarray]:
    """Random tokens; the second row is padded."""
    mask = np.ones((rows, length), dtype=np.int64)
    if rows > 1:
        mask[1, length - padding :] = 0
    return {"input_ids": np.random.default_rng(0).integers(3, 50, (rows, length)), "attention_mask": mask}


def logits(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    """What ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    return session.run(["logits"], {name: array for name, array in feed.items() if name in wanted})[0]
