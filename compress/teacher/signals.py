"""What a student can learn from inside its teacher: which layers, and how to read them while a model runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from compress.errors import CompressError
from compress.models.outputs import mean_pooled, outputs_of
from compress.recipe.student import Distillation

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_RECORDING = "compress_recording"


_TOKEN_SIGNALS = ("hidden", "query", "key", "value")


@dataclass(frozen=True)
class Shape:
    """What matters of a model where it is compared with another."""

    layers: int
    width: int
    heads: int


@dataclass(frozen=True)
class Signals:
    """Layers that are read, counted from 1 (0: the embeddings), and whether sentence vectors are."""

    hidden: tuple[int, ...] = ()
    query: tuple[int, ...] = ()
    key: tuple[int, ...] = ()
    value: tuple[int, ...] = ()
    sentence: bool = False

    def widths(self, width: int) -> dict[str, int]:
        """Numbers of values a token, by signal, for a model of this hidden size."""
        return {name: len(getattr(self, name)) * width for name in _TOKEN_SIGNALS if getattr(self, name)}


@dataclass(frozen=True)
class SignalPlan:
    """What is read of teacher and student: layers that stand at the same place are compared."""

    teacher: Signals = field(default_factory=Signals)
    student: Signals = field(default_factory=Signals)


def plan_signals(distillation: Distillation, student_layers: int, teacher_layers: int) -> SignalPlan:
    """Match layers as the recipe asks.

    In ``hidden`` the embeddings come first, if they are wanted; in ``query`` and ``key`` the layer of the relations
    comes last.

    :raises CompressError: If a layer is named that the teacher does not have.
    """
    own = tuple(range(1, student_layers + 1))
    pairs: dict[str, list[tuple[int, int]]] = {name: [] for name in _TOKEN_SIGNALS}
    if distillation.embeddings.weight:
        pairs["hidden"].append((0, 0))
    for name, signal in (("hidden", distillation.hidden), ("attention", distillation.attention)):
        if signal.weight:
            layers = mapped_layers(signal.layers, student_layers, teacher_layers, name)
            for target in ("hidden",) if name == "hidden" else ("query", "key"):
                pairs[target] += zip(layers, own, strict=True)
    if distillation.relations.weight:
        layer = distillation.relations.layer or teacher_layers
        _check_layers([layer], teacher_layers, "relations.layer")
        for target in ("query", "key", "value"):
            pairs[target].append((layer, student_layers))
    chosen = [{name: tuple(pair[side] for pair in found) for name, found in pairs.items()} for side in (0, 1)]
    sentence = distillation.sentences.weight > 0
    return SignalPlan(Signals(**chosen[0], sentence=sentence), Signals(**chosen[1], sentence=sentence))


def mapped_layers(wanted: str | list[int], student_layers: int, teacher_layers: int, name: str = "hidden") -> list[int]:
    """The teacher layer, counted from 1, that each student layer learns from.

    ``uniform`` spreads them evenly (TinyBERT), ``last`` takes the last ones (PKD).

    :raises CompressError: If there are not as many as student layers, or a layer does not exist.
    """
    if isinstance(wanted, list):
        layers = wanted
    elif wanted == "uniform":
        layers = [round((layer + 1) * teacher_layers / student_layers) for layer in range(student_layers)]
    else:
        layers = list(range(teacher_layers - student_layers + 1, teacher_layers + 1))
    if len(layers) != student_layers:
        raise CompressError(
            f"student.distillation.{name}.layers: {len(layers)} teacher layers are given, the student has "
            f"{student_layers} layers"
        )
    _check_layers(layers, teacher_layers, f"{name}.layers")
    return layers


def check_comparable(distillation: Distillation, student: Shape, teacher: Shape) -> None:
    """Refuse signals that these two models cannot be compared by.

    :raises CompressError: Naming the field and what would do.
    """
    if distillation.attention.weight and student.heads != teacher.heads:
        raise CompressError(
            f"student.distillation.attention: {student.heads} heads cannot be compared with the "
            f"teacher's {teacher.heads}; use relations, whose heads are independent of the models'"
        )
    heads = distillation.relations.heads
    if distillation.relations.weight and (student.width % heads or teacher.width % heads):
        raise CompressError(
            f"student.distillation.relations.heads: {heads} does not divide the widths {student.width} and "
            f"{teacher.width}; use a divisor of {math.gcd(student.width, teacher.width)}"
        )


def prepare(model: PreTrainedModel, signals: Signals) -> None:
    """Make a model's attention layers readable, where they are wanted.

    :raises CompressError: If the architecture does not let its attention be exchanged.
    """
    if not signals.query:
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(_RECORDING, _recording_attention)
    AttentionMaskInterface.register(_RECORDING, sdpa_mask)
    try:
        model.set_attn_implementation(_RECORDING)
    except (ValueError, KeyError, NotImplementedError, ImportError) as error:
        raise CompressError(
            f"student.distillation: the attention of {model.config.model_type} cannot be read; "
            "set the weights of attention and relations to 0"
        ) from error


def read(
    model: Any, inputs: dict[str, Tensor], signals: Signals, outputs: Sequence[str] = ("logits",)
) -> dict[str, Tensor]:
    """Run a model and read its signals.

    :param outputs: Names of the model's outputs that are its ``logits``.
    :return: ``logits`` as the model gives them; ``hidden``, ``query``, ``key`` and ``value`` (rows, tokens, layers,
        width) and ``sentence`` (rows, width), where they are wanted.
    """
    with _recorded() as attention:
        output = model(**inputs, output_hidden_states=bool(signals.hidden or signals.sentence))
    found = {"logits": outputs_of(output, outputs)}
    if signals.hidden:
        found["hidden"] = torch.stack([output["hidden_states"][layer] for layer in signals.hidden], dim=2)
    for position, name in enumerate(("query", "key", "value")):
        layers = getattr(signals, name)
        if layers:
            stacked = torch.stack([attention[layer - 1][position] for layer in layers], dim=2)
            found[name] = (
                stacked.float()
            )  # they are computed in half precision in some trainings, and compared in 32 bits
    if signals.sentence:
        found["sentence"] = mean_pooled(output["hidden_states"][-1], inputs["attention_mask"])
    return found


_records: list[tuple[Tensor, Tensor, Tensor]] | None = None


@contextmanager
def _recorded() -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Queries, keys and values of each attention layer that runs inside the block, (rows, tokens, width) each."""
    global _records
    _records = []
    try:
        yield _records
    finally:
        _records = None


def _recording_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if _records is not None:
        _records.append(tuple(part.transpose(1, 2).flatten(2) for part in (query, key, value)))  # type: ignore[arg-type]
    return sdpa_attention_forward(module, query, key, value, mask, **kwargs)


def _check_layers(layers: list[int], teacher_layers: int, name: str) -> None:
    wrong = [layer for layer in layers if not 1 <= layer <= teacher_layers]
    if wrong:
        raise CompressError(
            f"student.distillation.{name}: the teacher has no layer {wrong[0]}; it has {teacher_layers}, counted from 1"
        )
