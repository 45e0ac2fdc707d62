"""How much memory a model takes at least for its longest row, reckoned from its shape before it is asked: where the
system is short of it, it ends processes without a word."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.console import say
from compress.memory import check_memory, free_memory
from compress.models.describe import feed_forward_width
from compress.models.load import model_class
from compress.runtimes.generation import MERGED
from compress.runtimes.predict import runtime_of
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_NUMBER = 4  # bytes
_FEWEST_TOKENS = 1024  # shorter rows are nowhere near
# How many times the scores of a layer's heads, float32 (heads, tokens, tokens), are held at once. Measured with three
# layers of 12 heads: of BERT 2.1 in PyTorch's plain attention, 2.4 in a graph and 1.25 in a fused one; of DeBERTa, that
# adds three kinds of scores up, 5.8 and 11.
_HELD, _HELD_OF_SUMS = {"plain": 2.0, "graph": 2.0, "fused": 1.0}, {"plain": 5.0, "graph": 10.0, "fused": 10.0}
_FUSED_OPERATORS = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}


def check_row(
    folder: Path, task: Task, tokens: int, *, rows: int = 1, vocabulary: bool = False, trust_remote_code: bool = False
) -> None:
    """Refuse a model's longest row, or a batch of such rows, that the free memory cannot hold.

    :param folder: Of the model: its weights, or its graphs.
    :param tokens: Of a row.
    :param rows: That are run at once.
    :param vocabulary: Whether a model that writes tells how likely every token of its vocabulary is, at each place.
    :param trust_remote_code: Run code that lies beside the model.
    :raises CompressError: Naming what is needed and what is free.
    """
    if tokens < _FEWEST_TOKENS or not (folder / "config.json").is_file() or _is_for_gpu(folder):
        return
    config = _config(folder, trust_remote_code)
    if config is None:
        return
    needed = rows * row_bytes(config, tokens, _attention(folder, task, config))
    if vocabulary:
        needed += rows * _NUMBER * tokens * config.vocab_size
    batch = f"one row of {tokens:,} tokens takes" if rows == 1 else f"{rows} rows of {tokens:,} tokens take"
    check_memory(f"{folder}: {batch}", needed, "lower data.max_length, or take a machine with more")


def _config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig | None:
    """That of a model; none where it cannot be read, of which whoever opens the model says what is to be said."""
    from transformers import AutoConfig

    with suppress(Exception):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        return config
    return None


def row_bytes(config: PreTrainedConfig, tokens: int, attention: str) -> float:
    """What a layer holds of a row, at least.

    :param attention: ``plain`` (PyTorch's, with all scores), ``graph`` or ``fused`` (the same of ONNX and OpenVINO), or
        ``sdpa``: PyTorch's own, which holds a mask alone.
    """
    scores = config.num_attention_heads * (_HELD_OF_SUMS if _sums_scores(config) else _HELD).get(attention, 0.0)
    states = 2 * (config.hidden_size + feed_forward_width(config))
    held: float = _NUMBER * tokens * (max(scores, 1.0) * tokens + states)
    return held


def tell_of_rows(config: PreTrainedConfig, max_length: int) -> None:
    """Say before a training that rows of the longest kind will be more than memory holds when graphs are compared."""
    needed, free = row_bytes(config, max_length, "graph"), free_memory()
    if max_length >= _FEWEST_TOKENS and needed > free:
        say(
            f"export: a graph will take at least {needed / 1e9:.1f} GB of memory for one row of {max_length:,} tokens "
            f"(data.max_length), {free / 1e9:.1f} GB are free: if there are such rows, lower data.max_length"
        )


def _sums_scores(config: PreTrainedConfig) -> bool:
    """Whether scores are sums, as of contents and of distances (DeBERTa)."""
    return bool(getattr(config, "relative_attention", False))


def _is_for_gpu(folder: Path) -> bool:
    """Whether a GPU holds it, which says by itself what it is short of."""
    runtime = runtime_of(folder)
    if runtime == "PyTorch":
        import torch

        return torch.cuda.is_available()
    return runtime not in ("ONNX Runtime", "OpenVINO")


def _attention(folder: Path, task: Task, config: PreTrainedConfig) -> str:
    if runtime_of(folder) != "PyTorch":
        graphs = [path for path in folder.glob("*.onnx") if path.name != MERGED]
        return "fused" if runtime_of(folder) == "OpenVINO" or all(map(_is_fused, graphs)) else "graph"
    kind: Any = model_class(task)._model_mapping.get(type(config), None)
    return "sdpa" if getattr(kind, "_supports_sdpa", False) else "plain"


@cache
def _is_fused(graph: Path) -> bool:
    """Whether a graph has operators that hold their scores once; where that cannot be seen, as it takes less."""
    try:
        import onnx
    except ImportError:
        return True
    nodes = onnx.load(graph, load_external_data=False).graph.node
    return any(node.op_type in _FUSED_OPERATORS for node in nodes)
