"""Models that read with an encoder and write with a decoder: a teacher from scratch, and students with fewer layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.recipe.student import Student
from compress.recipe.teacher import Scratch

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# What the architectures call the parts of a shape.
_NAMES = {
    "layers": ("encoder_layers", "num_hidden_layers", "num_layers"),
    "decoder_layers": ("decoder_layers", "num_decoder_layers"),
    "heads": ("encoder_attention_heads", "decoder_attention_heads", "num_heads"),
    "hidden_size": ("d_model",),
    "feed_forward_size": ("encoder_ffn_dim", "decoder_ffn_dim", "d_ff"),
    "head_size": ("d_kv",),
}


def translation_config(scratch: Scratch, tokenizer: PreTrainedTokenizerBase, max_length: int) -> PreTrainedConfig:
    """The architecture of M2M100 (Fan et al., 2020) and NLLB in the recipe's shape."""
    from transformers import M2M100Config

    config = M2M100Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=max(max_length, 512),
        # The model multiplies embeddings by the root of the width: so they are about as large as those of positions.
        init_std=scratch.hidden_size**-0.5,
        dropout=scratch.dropout,
        attention_dropout=scratch.dropout,
        activation_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
    )
    return reshaped(config, scratch)


def layer_counts(config: PreTrainedConfig) -> tuple[int, int]:
    """Layers of encoder and decoder."""
    decoder = next(getattr(config, name) for name in _NAMES["decoder_layers"] if hasattr(config, name))
    return config.num_hidden_layers, decoder


def fewer_layers(config: PreTrainedConfig, student: Student) -> PreTrainedConfig:
    """The configuration of a student with some of the teacher's layers.

    :raises CompressError: If fewer than one or more than all layers are asked for.
    """
    assert student.every_nth_layer is not None
    depths = layer_counts(config)
    counts = (depths[0] // student.every_nth_layer, student.decoder_layers or depths[1] // student.every_nth_layer)
    for name, count, depth in zip(("every_nth_layer", "decoder_layers"), counts, depths, strict=True):
        if not 1 <= count <= depth:
            raise CompressError(f"student.{name}: {count} layers cannot be taken out of the teacher's {depth}")
    return _with(config, {"layers": counts[0], "decoder_layers": counts[1]})


def copy_spread_layers(teacher: PreTrainedModel, model: PreTrainedModel) -> None:
    """Give a student some of the teacher's layers, those of the encoder and of the decoder spread as far as they go.

    So Shleifer & Rush (2020) choose the layers that a student starts from.
    """
    depths, counts = layer_counts(teacher.config), layer_counts(model.config)
    weights = teacher.state_dict()
    for ours, theirs, count, depth in zip(_layers(model), _layers(teacher), counts, depths, strict=True):
        weights = {name: value for name, value in weights.items() if not name.startswith(f"{theirs}.")}
        for place, layer in enumerate(_spread(count, depth)):
            for name, value in teacher.get_submodule(f"{theirs}.{layer}").state_dict().items():
                weights[f"{ours}.{place}.{name}"] = value
    model.load_state_dict(weights)


def reshaped(config: PreTrainedConfig, shape: Scratch | Student) -> PreTrainedConfig:
    """A configuration in another shape."""
    parts = {
        "layers": shape.layers,
        "decoder_layers": shape.decoder_layers or shape.layers,
        "heads": shape.heads,
        "hidden_size": shape.hidden_size,
        "feed_forward_size": shape.feed_forward_size,
        "head_size": shape.hidden_size // shape.heads,
    }
    return _with(config, parts)


def _with(config: PreTrainedConfig, parts: dict[str, int]) -> PreTrainedConfig:
    content = config.to_dict()
    changes = {name: value for part, value in parts.items() for name in _NAMES[part] if name in content}
    return type(config).from_dict({**content, **changes})


def _spread(count: int, depth: int) -> Sequence[int]:
    return [round(place * (depth - 1) / max(count - 1, 1)) for place in range(count)]


def _layers(model: PreTrainedModel) -> list[str]:
    """The names of the lists of layers of encoder and decoder."""
    from torch.nn import ModuleList

    modules = dict(model.named_modules())

    def name_in(side: Any) -> str:
        lists: dict[Module, str] = {module: name for name, module in modules.items() if isinstance(module, ModuleList)}
        return next(lists[child] for child in side.children() if child in lists)

    return [name_in(model.get_encoder()), name_in(model.get_decoder())]
