"""The loss functions of distillation. Each gives one value a row, so that rows can be weighted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from compress.recipe.student import RankingLoss
from compress.tasks.contract import NO_LABEL
from compress.training.losses import hard_loss, mean_over_tokens

_NOTHING = 1e-9


def soft_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, classes: Tensor | None = None
) -> Tensor:
    """``T² · KL(softmax(teacher / T) ‖ softmax(student / T))`` (Hinton et al., 2015).

    :param student_logits: Float (..., classes).
    :param teacher_logits: The same of the teacher, or float (..., kept) where only some classes' are known; the others
        are taken as impossible.
    :param classes: Which they are, int64 (..., kept).
    :return: Float (...), in natural-logarithm units.
    """
    student = F.log_softmax(student_logits / temperature, dim=-1)
    if classes is not None:
        student = student.gather(-1, classes)
    teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
    return temperature**2 * F.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1)


def hard_and_soft_loss(
    student_logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    alpha: float,
    temperature: float,
    classes: Tensor | None = None,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """``α · cross-entropy(labels)`` and ``(1 − α) · soft loss`` (Hinton et al., 2015), each (rows,); of numbers squared
    distances, from the labels and from the teacher's.

    :param student_logits: Float (rows, positions, classes).
    :param labels: int64 (rows, positions); positions with -100 do not count. Or numbers, float of this shape.
    :param teacher_logits: Float (rows, positions, classes), or (rows, positions, kept).
    :param classes: Which classes are kept, int64 (rows, positions, kept).
    :param smoothing: Of the labels, as `compress.training.losses.hard_loss` has it.
    """
    if labels.is_floating_point():
        distance = (student_logits - teacher_logits).squeeze(-1).pow(2).mean(dim=1)
        return alpha * hard_loss(student_logits, labels), (1 - alpha) * distance
    soft = mean_over_tokens(soft_loss(student_logits, teacher_logits, temperature, classes), labels != NO_LABEL)
    return alpha * hard_loss(student_logits, labels, smoothing), (1 - alpha) * soft


def ranking_loss(student: Tensor, teacher: Tensor, queries: Tensor, kind: RankingLoss, temperature: float) -> Tensor:
    """What a student's scores of passages lack of its teacher's, float (rows,); of "margins" and "lists" 0 for a
    passage whose query has no other one in the batch.

    - distances: squared differences of scores;
    - margins: squared differences of what sets each passage apart from the others of its query (margin MSE: Hofstätter
      et al., 2020), the mean over these;
    - lists: ``T² · KL(softmax(teacher / T) ‖ softmax(student / T))`` over a query's passages.

    :param student: Scores, float (rows,).
    :param teacher: The same of the teacher.
    :param queries: The number of each row's query, int64 (rows,).
    """
    if kind == "distances":
        return (student - teacher).pow(2)
    same = queries[:, None] == queries[None, :]
    if kind == "margins":
        apart = (student[:, None] - student[None, :]) - (teacher[:, None] - teacher[None, :])
        return (apart.pow(2) * same).sum(dim=1) / (same.sum(dim=1) - 1).clamp(min=1)
    theirs, wanted = (_among(scores, same, temperature) for scores in (student, teacher))
    return temperature**2 * (wanted.exp() * same * (wanted - theirs)).sum(dim=1)


def order_loss(scores: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """How far a query's passages are from the order of their labels, wherever its scores lie: the cross-entropy of the
    shares of their labels with the distribution of their scores (ListNet: Cao et al., 2007), float (rows,); 0 where no
    label of the query is more than 0.

    :param scores: Float (rows,).
    :param labels: The probability that each passage is relevant, float (rows,).
    :param queries: The number of each row's query, int64 (rows,).
    """
    same = queries[:, None] == queries[None, :]
    told = _among(scores, same, 1.0)
    wanted = labels * same
    return -(wanted / wanted.sum(dim=1, keepdim=True).clamp(min=_NOTHING) * told).sum(dim=1)


def _among(scores: Tensor, same: Tensor, temperature: float) -> Tensor:
    """Logarithms of the distribution over the passages of each row's query, float (rows, rows); 0 for all others.

    :param same: Which rows have the same query, bool (rows, rows).
    """
    told = F.log_softmax(scores.expand_as(same).masked_fill(~same, -torch.inf) / temperature, dim=1)
    return told.masked_fill(~same, 0.0)


def state_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of hidden states or embeddings over real tokens (TinyBERT: Jiao et al., 2020).

    :param student: Float (rows, tokens, width), projected to the teacher's width already.
    :param teacher: Float (rows, tokens, width).
    :param mask: Attention mask (rows, tokens).
    :return: Float (rows,).
    """
    return mean_over_tokens((student - teacher).pow(2).mean(dim=-1), mask)


def relation_loss(student: tuple[Tensor, Tensor], teacher: tuple[Tensor, Tensor], heads: int, mask: Tensor) -> Tensor:
    """``KL(softmax(A_t · B_tᵀ / √d_t) ‖ softmax(A_s · B_sᵀ / √d_s))``, averaged over heads and real tokens.

    With two times the queries, keys or values this is a self-attention relation of MiniLMv2 (Wang et al., 2021), whose
    heads need not be those of the models; with queries and keys, and the models' heads, it compares attention maps.

    :param student: A and B, float (rows, tokens, width) with all heads side by side.
    :param teacher: The same of the teacher, whose width may be another.
    :param heads: Number of heads that both are divided into; a divisor of both widths.
    :return: Float (rows,).
    """
    wanted = _log_relation(*teacher, heads, mask)
    difference = F.kl_div(_log_relation(*student, heads, mask), wanted, reduction="none", log_target=True)
    real = mask[:, None, None, :].bool()
    return mean_over_tokens(difference.masked_fill(~real, 0.0).sum(dim=-1).mean(dim=1), mask)


def sentence_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """``1 − cosine`` of sentence vectors (after Reimers & Gurevych, 2020).

    :param student: Float (rows, width), projected to the teacher's width already.
    :param teacher: Float (rows, width).
    :return: Float (rows,).
    """
    return 1 - F.cosine_similarity(student, teacher, dim=-1)


def group_dro_loss(
    by_row: Tensor,
    language: Tensor,
    log_weights: Tensor,
    step: float,
    processes: int = 1,
    reduce: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Tensor:
    """Mean losses of the languages, weighted so that those with a high loss count more (Sagawa et al., 2020).

    :param by_row: Losses, float (rows,).
    :param language: Language number of each row, int64 (rows,).
    :param log_weights: Logarithm of each language's weight, float (languages,); ``step · loss`` is added in place, so
        that no loss is too high for it and no weight becomes 0 for ever.
    :param reduce: Sums a tensor over the processes, whose gradients are averaged.
    :return: Scalar.
    """
    sums = torch.zeros_like(log_weights).index_add(0, language, by_row)
    with torch.no_grad():
        counts = torch.zeros_like(log_weights).index_add(0, language, torch.ones_like(by_row))
        all_sums, all_counts = reduce(torch.stack([sums.detach(), counts])).unbind()
        log_weights.add_(step * all_sums / all_counts.clamp(min=1))
        log_weights.sub_(log_weights.logsumexp(dim=0))
        present = log_weights.masked_fill(all_counts == 0, -torch.inf).softmax(dim=0)
        factors = processes * present / all_counts.clamp(min=1)
    return (sums * factors).sum()


def _log_relation(first: Tensor, second: Tensor, heads: int, mask: Tensor) -> Tensor:
    """Float (rows, heads, tokens, tokens); columns of padding are all but impossible."""
    first, second = (
        part.unflatten(-1, (heads, part.shape[-1] // heads)).transpose(1, 2).float() for part in (first, second)
    )
    scores = first @ second.transpose(-1, -2) / first.shape[-1] ** 0.5
    padding = mask[:, None, None, :] == 0
    return F.log_softmax(scores.masked_fill(padding, -1e4), dim=-1)
