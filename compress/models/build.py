"""Building the models of a run: a teacher from scratch, and the student from its teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from compress.errors import CompressError
from compress.models.describe import FEED_FORWARD_NAMES, embeddings_of, label_maps
from compress.models.encoder_decoder import copy_spread_layers, fewer_layers, reshaped
from compress.models.sentence_folder import has_head, head_of, keep_head
from compress.models.sentence_student import copy_head, head_of_student, static_head
from compress.recipe.student import Student
from compress.recipe.teacher import Scratch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from compress.models.sentence import SentenceEncoder


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
    """A student of the teacher's architecture and vocabulary: every n-th of its layers, a shape of its own, or both.

    A student of another shape starts from new weights but, unless they are to be random, for the token embeddings:
    those are the teacher's, projected onto their principal components. What `compress.models.pruning` cuts out of the
    teacher comes on top.

    :raises CompressError: If the architecture does not let its layers be counted or its shape be set.
    """
    if student.kind == "static":
        return static_student(teacher, student)
    model = type(teacher)(student_config(teacher.config, student))
    if student.every_nth_layer and teacher.config.is_encoder_decoder:
        copy_spread_layers(teacher, model)
    elif student.copies_layers:
        assert student.every_nth_layer is not None
        _copy_layers(teacher, model, kept_layers(teacher.config.num_hidden_layers, student.every_nth_layer))
    elif student.initialization != "random":
        _project_embeddings(teacher, model)
    if has_head(teacher.config):
        copy_head(cast("SentenceEncoder", teacher), cast("SentenceEncoder", model))
    return model


def student_config(teacher: PreTrainedConfig, student: Student) -> PreTrainedConfig:
    """The configuration of a teacher's student.

    :raises CompressError: As `build_student`.
    """
    if student.kind == "static":
        return static_config(teacher, student)
    if teacher.is_encoder_decoder:
        return (fewer_layers if student.every_nth_layer else reshaped)(teacher, student)
    if student.every_nth_layer is None:
        config = _with_shape(teacher, student, range(student.layers))
    else:
        kept = kept_layers(teacher.num_hidden_layers, student.every_nth_layer)
        config = _with_shape(teacher, student, kept) if student.is_cut else _with_fewer_layers(teacher, kept)
    if has_head(teacher):
        widths, learnt = (teacher.hidden_size, config.hidden_size), student.distillation.vectors
        keep_head(config, head_of_student(head_of(teacher), *widths, learnt))
        _leave_out_dropout(config)
    return config


def _leave_out_dropout(config: PreTrainedConfig) -> None:
    """A teacher's vectors can hardly be learnt by heart: to drop activations would blur them, and take longer."""
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, float):
            setattr(config, name, 0.0)


def static_student(teacher: PreTrainedModel, student: Student) -> PreTrainedModel:
    """A static student with new vectors.

    :raises CompressError: As `static_config`.
    """
    from compress.models.static import StaticForSequenceClassification, StaticModel

    config = static_config(teacher.config, student)
    if not has_head(config):
        return StaticForSequenceClassification(config)
    made: PreTrainedModel = type(teacher)(config, StaticModel(config))
    return made


def static_config(teacher: PreTrainedConfig, student: Student) -> PreTrainedConfig:
    """The configuration of a teacher's static student.

    :raises CompressError: If its vectors cannot be as the recipe has them, or are longer than the teacher is wide.
    """
    from compress.models.static import StaticConfig

    if student.hidden_size > teacher.hidden_size:
        raise CompressError(
            f"student.hidden_size: {student.hidden_size} numbers of a static student's vectors are more than the "
            f"{teacher.hidden_size} of its teacher's; lower it"
        )
    names = ("problem_type", "id2label", "label2id", "pad_token_id")
    told = {name: getattr(teacher, name) for name in names}
    config = StaticConfig(teacher.vocab_size, student.hidden_size, **told)
    if has_head(teacher):
        keep_head(config, static_head(head_of(teacher), teacher.hidden_size, student))
    return config


def feed_forward_size(config: PreTrainedConfig) -> int:
    """The width of a model's feed-forward part.

    :raises CompressError: If its architecture does not let it be set.
    """
    content = config.to_dict()
    return int(content[_feed_forward_field(config, content)])


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


def _with_shape(config: PreTrainedConfig, student: Student, kept: Sequence[int]) -> PreTrainedConfig:
    content = config.to_dict()
    feed_forward = _feed_forward_field(config, content)
    aliases = config.attribute_map
    shape = {
        "num_hidden_layers": len(kept),
        "hidden_size": student.hidden_size,
        "num_attention_heads": student.heads,
        feed_forward: student.feed_forward_size,
    }
    shape = {aliases.get(name, name): value for name, value in shape.items()}
    return _rebuilt(config, {**_per_layer(content, config, kept), **shape})


def _feed_forward_field(config: PreTrainedConfig, content: Mapping[str, Any]) -> str:
    found = next((name for name in FEED_FORWARD_NAMES if name in content), None)
    if found is None:
        raise CompressError(f"{config.model_type}: its feed-forward size cannot be set; use student.every_nth_layer")
    return found


def kept_layers(depth: int, every_nth: int) -> Sequence[int]:
    """Every n-th of a teacher's layers, counted from 0.

    :raises CompressError: If it has fewer.
    """
    kept = range(every_nth - 1, depth, every_nth)
    if not kept:
        raise CompressError(f"student.every_nth_layer: {every_nth} leaves none of the teacher's {depth} layers")
    return kept


def _with_fewer_layers(config: PreTrainedConfig, kept: Sequence[int]) -> PreTrainedConfig:
    depth_field = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    return _rebuilt(config, {**_per_layer(config.to_dict(), config, kept), depth_field: len(kept)})


def _copy_layers(teacher: PreTrainedModel, model: PreTrainedModel, kept: Sequence[int]) -> None:
    from torch.nn import ModuleList

    depth = teacher.config.num_hidden_layers
    name = next(
        (name for name, module in teacher.named_modules() if isinstance(module, ModuleList) and len(module) == depth),
        None,
    )
    if name is None:
        raise CompressError(f"{teacher.config.model_type}: its layers cannot be found; give the student a shape")
    weights = {key: value for key, value in teacher.state_dict().items() if not key.startswith(f"{name}.")}
    for position, layer in enumerate(kept):
        for key, value in teacher.get_submodule(f"{name}.{layer}").state_dict().items():
            weights[f"{name}.{position}.{key}"] = value
    # A first layer may lack a part that the others have (ModernBERT's first normalisation): what has no place is left.
    model.load_state_dict({key: value for key, value in weights.items() if key in model.state_dict()}, strict=False)


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
