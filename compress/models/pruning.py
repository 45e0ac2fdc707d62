"""A narrower student cut out of its teacher: attention heads, feed-forward neurons and channels that matter most.

Importance is first-order (Michel et al., 2019; Molchanov et al., 2019): how much the loss on a sample would change, to
the first order, if the part were zero, ``|Σ weight · gradient|``, summed over batches.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import Module

from compress.errors import CompressError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = Mapping[str, Tensor]
Space = tuple[str, int | None]
"""What an axis of a weight runs over, and in which layer; none for what all layers share."""

# What the two axes (outputs, inputs) of a weight run over, by the end of its name; "x2" and "x3" are stacked copies.
# BERT, RoBERTa, XLM-R and ELECTRA share their names; DistilBERT and ModernBERT have their own.
_AXES = [
    (r"\.(query|key|value|q_lin|k_lin|v_lin)\.(weight|bias)$", ("heads", "channels")),
    (r"\.Wqkv\.(weight|bias)$", ("heads x3", "channels")),
    (r"(\.attention\.output\.dense|\.out_lin|\.attn\.Wo)\.(weight|bias)$", ("channels", "heads")),
    (r"(\.intermediate\.dense|\.lin1)\.(weight|bias)$", ("neurons", "channels")),
    (r"\.mlp\.Wi\.(weight|bias)$", ("neurons x2", "channels")),
    (r"(\.output\.dense|\.lin2|\.mlp\.Wo)\.(weight|bias)$", ("channels", "neurons")),
    (r"(embeddings|tok_embeddings)\.weight$", ("", "channels")),
    (r"(^|\.)(pooler\.dense|pre_classifier|classifier\.dense|head\.dense)\.(weight|bias)$", ("pooled", "channels")),
    (r"^head\.norm\.(weight|bias)$", ("pooled",)),
    (r"(LayerNorm|layer_norm|norm)\.(weight|bias)$", ("channels",)),
    (r"^(classifier|classifier\.out_proj)\.(weight|bias)$", ("", "pooled")),
    (r"^score\.(weight|bias)$", ("", "channels")),
]


def prune(
    teacher: PreTrainedModel,
    student: PreTrainedModel,
    kept_layers: Sequence[int],
    batches: Iterable[Batch],
    loss: Callable[[PreTrainedModel, Batch], Tensor],
    method: str,
    advance: Callable[[int], object] = lambda rows: None,
) -> None:
    """Fill a narrower student of the same architecture with what matters most of its teacher.

    :param kept_layers: For each student layer the teacher layer, counted from 0, that it comes from.
    :param batches: Padded training rows with ``labels``.
    :param loss: The loss of a model on one of them.
    :param method: ``importance`` keeps the channels of the residual stream that matter most; ``svd`` projects it onto
        the leading singular directions of what it holds on these rows. Heads and neurons are kept by importance.
    :param advance: Told the number of rows after each batch.
    :raises CompressError: If the architecture is not known, or the heads have another size.
    """
    _check(teacher, student)
    rows = list(batches)
    importance = _importance(teacher, rows, loss, advance)
    bases = _bases(student, importance, kept_layers)
    if method == "svd":
        states = [0, *(layer + 1 for layer in kept_layers)]
        bases["channels", None] = _leading_directions(teacher, rows, states, student.config.hidden_size)
    source = teacher.state_dict()
    filled = {}
    for name in student.state_dict():
        layer = _layer_of(name)
        origin = name if layer is None else _with_layer(name, kept_layers[layer])
        if origin in source:  # ModernBERT's first layer lacks a norm that the others have
            filled[name] = _reduced(origin, source[origin], bases, layer)
    student.load_state_dict(filled, strict=False)


def can_be_pruned(model: Module) -> bool:
    """Whether a narrower student can be cut out of it: whether its architecture is known."""
    try:
        for name, weight in model.named_parameters():
            _axes(name, weight)
    except CompressError:
        return False
    return True


def _check(teacher: PreTrainedModel, student: PreTrainedModel) -> None:
    for name, weight in teacher.named_parameters():
        _axes(name, weight)
    old, new = (model.config.hidden_size // model.config.num_attention_heads for model in (teacher, student))
    if old != new:
        raise CompressError(
            f"student.heads: heads of width {new} cannot be cut out of the teacher's, which are {old} wide; "
            f"set hidden_size to {old} times heads"
        )


def _axes(name: str, weight: Tensor) -> tuple[str, ...]:
    for pattern, axes in _AXES:
        if re.search(pattern, name):
            return axes[: weight.dim()]
    raise CompressError(f"student.initialization: '{name}' is not known; only `embeddings` and `random` work for it")


def _layer_of(name: str) -> int | None:
    found = re.search(r"\.(?:layer|layers)\.(\d+)\.", name)
    return int(found.group(1)) if found else None


def _with_layer(name: str, layer: int) -> str:
    return re.sub(r"(\.(?:layer|layers)\.)\d+\.", rf"\g<1>{layer}.", name)


def _importance(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    loss: Callable[[PreTrainedModel, Batch], Tensor],
    advance: Callable[[int], object],
) -> dict[Space, Tensor]:
    """For each space and layer the importance of its elements (heads: of each head)."""
    model.eval()
    width = model.config.hidden_size // model.config.num_attention_heads
    totals: dict[Space, Tensor] = defaultdict(lambda: torch.zeros(()))
    for batch in batches:
        model.zero_grad()
        loss(model, batch).backward()
        for name, weight in model.named_parameters():
            if weight.grad is None:
                continue
            product = weight.detach() * weight.grad
            for axis, label in enumerate(_axes(name, weight)):
                if label and weight.dim() == 2:
                    space, copies = _space(label, _layer_of(name))
                    change = product.sum(dim=1 - axis).unflatten(0, (copies, -1)).sum(dim=0)
                    if space[0] == "heads":
                        change = change.unflatten(0, (-1, width)).sum(dim=1)
                    totals[space] = totals[space] + change.abs()
        advance(len(batch["labels"]))
    model.zero_grad()
    return dict(totals)


def _space(label: str, layer: int | None) -> tuple[Space, int]:
    """What an axis runs over, and how many copies of it are stacked."""
    name, _, copies = label.partition(" x")
    return (name, layer if name in ("heads", "neurons") else None), int(copies or 1)


def _bases(
    student: PreTrainedModel, importance: Mapping[Space, Tensor], kept_layers: Sequence[int]
) -> dict[Space, Tensor]:
    """For each space of the student a matrix (new, old) that keeps the most important elements, in their order."""
    heads, channels = student.config.num_attention_heads, student.config.hidden_size
    width = channels // heads
    bases = {}
    for name, weight in student.named_parameters():
        for size, label in zip(weight.shape, _axes(name, weight), strict=True):
            (kind, layer), copies = _space(label, _layer_of(name))
            if not kind or (kind, layer) in bases:
                continue
            scores = importance[kind, None if layer is None else kept_layers[layer]]
            count = heads if kind == "heads" else size // copies
            if count > len(scores):
                raise CompressError(f"student: {count} {kind} cannot be cut out of the teacher's {len(scores)}")
            chosen = scores.topk(count).indices.sort().values
            if kind == "heads":
                chosen = (chosen[:, None] * width + torch.arange(width)).flatten()
            bases[kind, layer] = torch.eye(len(scores) * (width if kind == "heads" else 1))[chosen]
    return bases


def _leading_directions(model: PreTrainedModel, batches: Iterable[Batch], states: Sequence[int], width: int) -> Tensor:
    """The ``width`` leading singular directions (width, old width) of a model's states of real tokens, the states of
    each layer counting alike (after SliceGPT: Ashkboos et al., 2024).

    They are not centred: what all tokens have in common is most of what some models' states are.

    :param states: Which are looked at: 0 those of the embeddings, then those of each layer.
    """
    if width == model.config.hidden_size:
        return torch.eye(width)  # nothing is left out, and norms scale each channel by itself
    products: dict[int, Tensor] = defaultdict(lambda: torch.zeros(()))
    with torch.no_grad():
        for batch in batches:
            inputs = {name: values for name, values in batch.items() if name != "labels"}
            found = model.base_model(**inputs, output_hidden_states=True)["hidden_states"]
            for state in states:
                tokens = found[state][batch["attention_mask"].bool()].float()
                products[state] = products[state] + tokens.T @ tokens
    alike = torch.stack([product / product.trace() for product in products.values()]).sum(dim=0)
    directions: Tensor = torch.linalg.eigh(alike).eigenvectors
    return directions.flip(1).T[:width]


def _reduced(name: str, weight: Tensor, bases: Mapping[Space, Tensor], layer: int | None) -> Tensor:
    """A teacher weight in the student's spaces; ``layer`` is the student's."""
    result = weight.float()
    for axis, label in enumerate(_axes(name, weight)):
        space, copies = _space(label, layer)
        if not label:
            continue
        basis = bases[space]
        if weight.dim() == 1 and "norm" in name.lower() and name.endswith("weight"):
            basis = basis.pow(2)  # a scale is averaged over what it scaled, not turned
        stacked = result.unflatten(axis, (copies, -1)).movedim(axis + 1, -1) @ basis.T
        result = stacked.movedim(-1, axis + 1).flatten(axis, axis + 1)
    return result.to(weight.dtype)
