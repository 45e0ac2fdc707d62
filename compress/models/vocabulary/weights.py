"""A model without the rows of tokens that are gone, and the numbers of tokens that its configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.models.describe import embeddings_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_LISTS = ("bad_words_ids", "force_words_ids", "suppress_tokens", "begin_suppress_tokens")


def fixed_tokens(model: PreTrainedModel) -> set[int]:
    """Numbers of the tokens that a model's configuration names; and where positions are counted from the padding's
    number on, all below it, so that it stays what it is."""
    named = [getattr(config, field) for config in _configs(model) for field in _token_fields(config)]
    paddings = [
        module.padding_idx
        for name, module in model.named_modules()
        if "position" in name.rpartition(".")[2] and getattr(module, "padding_idx", None) is not None
    ]
    return {*_flat(named), *range(max(paddings, default=0))}


def drop_rows(model: PreTrainedModel, kept: Sequence[int]) -> int:
    """Leave a model the embeddings, and what its head has of each token, of some tokens alone, which are renumbered.

    :param model: It is changed, not copied.
    :param kept: Numbers of tokens, ascending.
    :return: Bytes that are saved.
    :raises CompressError: If it has other weights with an axis as long as its vocabulary.
    """
    import torch

    rows = embeddings_of(model).shape[0]
    tables = {id(table) for table in _tables(model)}
    if model.can_generate() and any(len(table) != rows for table in _tables(model)):
        raise CompressError(
            f"{model.config.model_type}: not all its embeddings and its head are of the same tokens; such a model "
            "cannot be trimmed"
        )
    with_tokens = [found for found in _tensors(model) if rows in found[2].shape]
    chosen, replaced, saved = torch.tensor(kept), dict[int, Any](), 0
    for module, name, tensor in with_tokens:
        axis = 0 if id(tensor) in tables else tensor.ndim - 1
        if id(tensor) not in tables and tensor.numel() != rows:
            raise CompressError(
                f"{model.config.model_type}: its weights '{name}' have an axis as long as its vocabulary ({rows:,}); "
                "such a model cannot be trimmed"
            )
        if id(tensor) not in replaced:
            smaller = tensor.detach().index_select(axis, chosen)
            saved += (tensor.numel() - smaller.numel()) * tensor.element_size()
            if isinstance(tensor, torch.nn.Parameter):
                smaller = torch.nn.Parameter(smaller, tensor.requires_grad)
            replaced[id(tensor)] = smaller
        setattr(module, name.rpartition(".")[2], replaced[id(tensor)])
    _renumber(model, rows, {old: new for new, old in enumerate(kept)})
    return saved


def _renumber(model: PreTrainedModel, rows: int, renumbered: Mapping[int, int]) -> None:
    for module in model.modules():
        for size in ("num_embeddings", "out_features", "vocab_size"):
            if getattr(module, size, None) == rows:
                setattr(module, size, len(renumbered))
        padding: Any = getattr(module, "padding_idx", None)
        if padding is not None:
            module.padding_idx = renumbered.get(padding, padding)
    for config in _configs(model):
        for field in (*vars(config), "vocab_size"):
            if field.endswith("vocab_size") and getattr(config, field, None) == rows:
                setattr(config, field, len(renumbered))
        for field in _token_fields(config):
            setattr(config, field, _mapped(getattr(config, field), renumbered))


def _tables(model: PreTrainedModel) -> list[Tensor]:
    """Embeddings of tokens and the weights of the head, those of the encoder and of the decoder too."""
    parts: list[Any] = [model]
    if model.config.is_encoder_decoder:
        parts += [model.get_encoder(), model.get_decoder()]
    modules = [find() for part in parts for find in (part.get_input_embeddings, part.get_output_embeddings)]
    return [module.weight for module in modules if module is not None]


def _tensors(model: PreTrainedModel) -> Iterator[tuple[Any, str, Tensor]]:
    for prefix, module in model.named_modules():
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        for name, tensor in list(own):
            yield module, f"{prefix}.{name}".lstrip("."), tensor


def _configs(model: PreTrainedModel) -> Iterator[Any]:
    from transformers import PreTrainedConfig

    yield model.config
    yield from (value for value in vars(model.config).values() if isinstance(value, PreTrainedConfig))
    if getattr(model, "generation_config", None) is not None:
        yield model.generation_config


def _token_fields(config: Any) -> list[str]:
    return [field for field in vars(config) if field.endswith("_token_id") or field in _LISTS]


def _flat(value: Any) -> Iterator[int]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, int):
        yield value


def _mapped(value: Any, renumbered: Mapping[int, int]) -> Any:
    """The new numbers; what was no token's stays none's."""
    if isinstance(value, list | tuple):
        return [_mapped(part, renumbered) for part in value]
    return renumbered.get(value, value) if isinstance(value, int) else value
