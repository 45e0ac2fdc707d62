"""Which weights a training changes: none of what is frozen, and of the embeddings those of tokens that occur."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from compress.errors import CompressError
from compress.processes import process_count

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.recipe.training import Freeze
    from compress.training.rows import TrainingData

_WORTH_IT = 0.9  # of the embeddings: where more of them occur, leaving the others out gains nothing


@contextmanager
def changed_weights(
    model: PreTrainedModel, freeze: Freeze | None, data: TrainingData, special: Sequence[int]
) -> Iterator[None]:
    """Let a training change what it should while the block runs.

    :param special: Tokens that are in no example, but put into batches; none: the embeddings stay whole.
    :raises CompressError: If the model has not so many layers, or they cannot be told.
    """
    with ExitStack() as stack:
        stack.enter_context(_frozen(model, freeze))
        if special and freeze is None:
            used = [split.values_of("input_ids") for split in (data.train, data.validation)]
            stack.enter_context(_occurring(model, np.unique(np.concatenate([*used, list(special)]))))
        yield


@contextmanager
def _frozen(model: PreTrainedModel, freeze: Freeze | None) -> Iterator[None]:
    """Keep embeddings, and lower layers, as they are; what no gradient goes through is not computed backwards."""
    changed = [weights for weights in _frozen_weights(model, freeze) if weights.requires_grad]
    for weights in changed:
        weights.requires_grad_(False)
    try:
        yield
    finally:
        for weights in changed:
            weights.requires_grad_(True)


def _frozen_weights(model: PreTrainedModel, freeze: Freeze | None) -> list[nn.Parameter]:
    if freeze is None:
        return []
    parts: list[nn.Module] = [_embeddings(model)]
    if freeze != "embeddings":
        layers = layers_of(model)
        if layers is None or freeze > len(layers):
            has = "layers that cannot be told" if layers is None else f"{len(layers)} layers"
            raise CompressError(f"training.freeze: {freeze} layers, and the model has {has}; lower it")
        parts += list(layers)[:freeze]
    return [weights for part in parts for weights in part.parameters()]


def _embeddings(model: PreTrainedModel) -> nn.Module:
    """The token embeddings with what is added to them, where they have a module of their own."""
    tokens = model.get_input_embeddings()
    place = next(name for name, module in model.named_modules() if module is tokens)
    holder = model.get_submodule(place.rpartition(".")[0])
    return tokens if holder is model or layers_of(holder) is not None else holder


def layers_of(model: nn.Module) -> nn.ModuleList | None:
    """The layers of an encoder, the lowest first."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    depth = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    fitting = [found for found in lists if depth is None or len(found) == depth]
    return fitting[0] if fitting else None


@contextmanager
def _occurring(model: PreTrainedModel, tokens: np.ndarray) -> Iterator[None]:
    """Put the embeddings of these tokens in the place of all while the block runs, and write them back at its end.

    A head that shares the embeddings needs them whole; so do several processes, which would send the others to one
    another at each step.
    """
    alone = process_count() == 1 and not model.config.is_encoder_decoder
    whole: Any = model.get_input_embeddings() if alone else None
    shares = model.get_output_embeddings() is not None
    if shares or type(whole) is not nn.Embedding:
        yield
        return
    if len(tokens) > _WORTH_IT * whole.num_embeddings:
        yield
        return
    part = OccurringEmbedding(whole, torch.from_numpy(tokens))
    model.set_input_embeddings(part)
    try:
        yield
    finally:
        part.whole[part.tokens] = part.weight.detach()
        whole.weight.data = part.whole
        model.set_input_embeddings(whole)


class OccurringEmbedding(nn.Module):
    """The embeddings of some tokens of a table: a gradient, and what an optimiser keeps, is of these alone.

    The table itself is saved in checkpoints: whoever goes on from one may have begun with another.

    :param whole: The table, whose padding token is none of those that learn here either.
    :param tokens: Those that occur, int64, ascending.
    """

    tokens: Tensor
    places: Tensor
    whole: Tensor

    def __init__(self, whole: nn.Embedding, tokens: Tensor):
        super().__init__()
        places = torch.full((whole.num_embeddings,), -1)
        places[tokens] = torch.arange(len(tokens))
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("whole", whole.weight.detach())
        self.weight = nn.Parameter(whole.weight.detach()[tokens].clone())
        padding = -1 if whole.padding_idx is None else int(places[whole.padding_idx])
        self.padding_idx = None if padding < 0 else padding

    def forward(self, ids: Tensor) -> Tensor:
        """The embeddings of tokens; one that is not there is an error."""
        return functional.embedding(self.places[ids], self.weight, self.padding_idx)
