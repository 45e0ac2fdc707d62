"""What is said of a model: its shape, and its numbers of weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from compress.contract import Contract
from compress.errors import CompressError, first_line
from compress.models.encoder_decoder import layer_counts
from compress.tasks.contract import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

FEED_FORWARD_NAMES = ("intermediate_size", "hidden_dim", "ffn_dim", "encoder_ffn_dim", "d_ff", "n_inner")
"""What architectures call the width of a layer's feed-forward part."""
_THRESHOLDS = "decision_thresholds"
"""What a configuration calls them."""


def label_maps(labels: Sequence[str]) -> Mapping[str, Any]:
    """The label names as a transformers configuration keeps them; nothing where a task has none."""
    if not labels:
        return {}
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def label_names(name: str, config: PreTrainedConfig) -> list[str]:
    """The label names of a transformers configuration, by number.

    :param name: The model's folder or hub id, for messages.
    :raises CompressError: If they are not numbered from 0 without gaps, or two are the same.
    """
    names: Any = config.id2label
    are_names = all(isinstance(name, str | int) for name in names.values())
    if sorted(names) != [*range(len(names))] or not are_names or len({*map(str, names.values())}) < len(names):
        raise CompressError(
            f"{name}: id2label in its config.json must number its labels from 0, each once and with a name of its own"
        )
    return [str(names[index]) for index in range(len(names))]


def thresholds_of(config: PreTrainedConfig) -> list[float]:
    """What a model decides by, as `Task.decode` takes it."""
    return list(getattr(config, _THRESHOLDS, None) or [])


def keep_thresholds(config: PreTrainedConfig, thresholds: Sequence[float]) -> None:
    """Let a configuration have these and no others."""
    if thresholds:
        setattr(config, _THRESHOLDS, list(thresholds))
    elif hasattr(config, _THRESHOLDS):
        delattr(config, _THRESHOLDS)


def thresholds_in(folder: Path) -> list[float]:
    """The same of a model's folder, without transformers.

    :raises CompressError: If its configuration cannot be read.
    """
    path = folder / "config.json"
    try:
        return list(json.loads(path.read_text("utf-8")).get(_THRESHOLDS) or [])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CompressError(f"{path}: cannot be read ({first_line(error)})") from error


def feed_forward_width(config: PreTrainedConfig) -> int:
    """The width of its layers' feed-forward part; four times its own, as usual, where it does not tell."""
    told = (getattr(config, name, None) for name in FEED_FORWARD_NAMES)
    return next((width for width in told if isinstance(width, int)), 4 * config.hidden_size)


def head_names(task: Task, labels: Sequence[str]) -> Sequence[str]:
    """The names of a head's outputs: the labels', or that of a number; none where a task has neither."""
    return ["LABEL_0"] if task.NUMBERS else labels


def stored_weights(path: Path) -> Iterator[tuple[tuple[int, ...], int]]:
    """Shape and bytes of each weight in a file of safetensors, none of which is read."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield tuple(entry["shape"]), end - start


class BroughtModel(Contract):
    """A model as the user brought it, before its vocabulary was trimmed."""

    bytes: int = Field(description="of its files of weights")
    embeddings: int = Field(description="of these, of weights with an axis as long as the vocabulary")
    tokens: int = Field(description="rows of the embeddings")


def brought_model(folder: Path, tokens: int) -> BroughtModel:
    """The size of a model in a folder.

    :param tokens: Rows of its embeddings.
    """
    files = sorted(folder.glob("*.safetensors"))
    return BroughtModel(
        bytes=sum(path.stat().st_size for path in files),
        embeddings=sum(size for path in files for shape, size in stored_weights(path) if tokens in shape),
        tokens=tokens,
    )


class ModelSummary(Contract):
    """What a model is."""

    shape: str = Field(description="layers times width, for example 4x256, or 6+2x512 with a decoder")
    layers: int
    width: int
    heads: int
    parameters: int = Field(description="numbers of weights")
    embedding_parameters: int


def summary_of(model: PreTrainedModel) -> ModelSummary:
    """Shape and numbers of weights of a model in memory."""
    config = model.config
    layers = layer_counts(config) if config.is_encoder_decoder else (config.num_hidden_layers,)
    return ModelSummary(
        shape=f"{'+'.join(map(str, layers))}x{config.hidden_size}",
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        parameters=sum(weight.numel() for weight in model.parameters()),
        embedding_parameters=embeddings_of(model).numel(),
    )


def embeddings_of(model: PreTrainedModel) -> Tensor:
    """The token embeddings, float (tokens, width)."""
    return cast("Tensor", model.get_input_embeddings().weight)
