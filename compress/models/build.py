"""Building the models of a run: a teacher from scratch, and the student from its teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.models.describe import embeddings_of, label_maps
from compress.models.encoder_decoder import build_from_layers, reshaped
from compress.recipe.student import Student
from compress.recipe.teacher import Scratch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


_FEED_FORWARD_NAMES = ("intermediate_size", "hidden_dim", "ffn_dim", "d_ff", "n_inner")


def scratch_config(
    scratch: Scratch, tokenizer: PreTrainedTokenizerBase, labels: Sequence[str], max_length: int
) -> PreTrainedConfig:
    """ModernBERT (Warner et al., 2024) in the recipe's shape, attending globally, classifying the mean of tokens."""
    from transformers import ModernBertConfig

    return ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=scratch.hidden_size,
        num_hidden_layers=scratch.layers,
        num_attention_heads=scratch.heads,
        intermediate_size=scratch.feed_forward_size,
        max_position_embeddings=max(max_length, 512),
        layer_types=["full_attention"] * scratch.layers,
        classifier_pooling="mean",
        embedding_dropout=scratch.dropout,
        mlp_dropout=scratch.dropout,
        attention_dropout=scratch.dropout,
        classifier_dropout=scratch.dropout,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        **label_maps(labels),
    )


def build_student(teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """A student of the teacher's architecture and vocabulary: every n-th of its layers, or a shape of its own.

    A student of another shape starts from new weights but, unless they are to be random, for the token embeddings:
    those are the teacher's, projected onto their principal components. What `compress.models.pruning` cuts out of the
    teacher comes on top.

    :raises CompressError: If the architecture does not let its layers be counted or its shape be set.
    """
    writes = teacher.config.is_encoder_decoder
    if student.every_nth_layer and writes:
        return build_from_layers(teacher, student)
    if student.every_nth_layer:
        depth = teacher.config.num_hidden_layers
        kept = list(range(student.every_nth_layer - 1, depth, student.every_nth_layer))
        if not kept:
            raise CompressError(
                f"student.every_nth_layer: {student.every_nth_layer} leaves none of the teacher's {depth} layers"
            )
        return _with_layers(teacher, kept)
    model = type(teacher)((reshaped if writes else _with_shape)(teacher.config, student))
    if student.initialization != "random":
        _project_embeddings(teacher, model)
    return model


def exchange_tokenizer(
    model: PreTrainedModel, old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """Give a model another tokenizer: tokens that both know keep their embeddings, the others get random ones."""
    import torch

    weights = embeddings_of(model)
    known = old.get_vocab()
    with torch.no_grad():
        fresh = torch.randn(len(new), weights.shape[1]) * weights.std()
        for token, index in new.get_vocab().items():
            if token in known:
                fresh[index] = weights[known[token]]
        model.resize_token_embeddings(len(new), mean_resizing=False)
        embeddings_of(model).copy_(fresh)
    for role in ("pad", "cls", "sep", "bos", "eos", "mask", "unk"):
        if getattr(model.config, f"{role}_token_id", None) is not None:
            setattr(model.config, f"{role}_token_id", getattr(new, f"{role}_token_id"))
    return model


def _with_shape(config: PreTrainedConfig, student: Student) -> PreTrainedConfig:
    content = config.to_dict()
    feed_forward = next((name for name in _FEED_FORWARD_NAMES if name in content), None)
    if feed_forward is None:
        raise CompressError(f"{config.model_type}: its feed-forward size cannot be set; use student.every_nth_layer")
    aliases = config.attribute_map
    shape = {
        "num_hidden_layers": student.layers,
        "hidden_size": student.hidden_size,
        "num_attention_heads": student.heads,
        feed_forward: student.feed_forward_size,
    }
    shape = {aliases.get(name, name): value for name, value in shape.items()}
    return _rebuilt(config, {**_per_layer(content, config, range(student.layers)), **shape})


def _with_layers(teacher: PreTrainedModel, kept: Sequence[int]) -> PreTrainedModel:
    from torch.nn import ModuleList

    depth = teacher.config.num_hidden_layers
    name = next(
        (name for name, module in teacher.named_modules() if isinstance(module, ModuleList) and len(module) == depth),
        None,
    )
    if name is None:
        raise CompressError(f"{teacher.config.model_type}: its layers cannot be found; give the student a shape")
    depth_field = teacher.config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    per_layer = _per_layer(teacher.config.to_dict(), teacher.config, kept)
    model = type(teacher)(_rebuilt(teacher.config, {**per_layer, depth_field: len(kept)}))
    weights = {key: value for key, value in teacher.state_dict().items() if not key.startswith(f"{name}.")}
    for position, layer in enumerate(kept):
        for key, value in teacher.get_submodule(f"{name}.{layer}").state_dict().items():
            weights[f"{name}.{position}.{key}"] = value
    # A first layer may lack a part that the others have (ModernBERT's first normalisation): what has no place is left.
    model.load_state_dict({key: value for key, value in weights.items() if key in model.state_dict()}, strict=False)
    return model


def _per_layer(content: Mapping[str, Any], config: PreTrainedConfig, kept: Iterable[int]) -> dict[str, list[Any]]:
    """The entries of the configuration that list one value a layer, for the kept layers."""
    depth = config.num_hidden_layers
    kept = [min(layer, depth - 1) for layer in kept]
    lists = {key: value for key, value in content.items() if isinstance(value, list) and len(value) == depth}
    return {key: [value[layer] for layer in kept] for key, value in lists.items() if key != "architectures"}


def _rebuilt(config: PreTrainedConfig, changes: Mapping[str, Any]) -> PreTrainedConfig:
    return type(config).from_dict({**config.to_dict(), **changes})


def _project_embeddings(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    import torch

    source, target = embeddings_of(teacher), embeddings_of(student)
    with torch.no_grad():
        width = min(*source.shape, target.shape[1])
        _, _, directions = torch.linalg.svd(source.float(), full_matrices=False)
        projected = source.float() @ directions[:width].T
        target[:, :width] = projected * (target.std() / projected.std())
