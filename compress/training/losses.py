"""The loss on labels, one value a row, so that rows can be weighted."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from compress.tasks.contract import NO_LABEL


def hard_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy with the labels, or squared distance from numbers, the mean over a row's positions, float (rows,).

    :param logits: Float (rows, positions, classes).
    :param labels: int64 (rows, positions); positions with -100 do not count. Or numbers, float of this shape; where
        there are two classes, the probability of the second.
    :param smoothing: Share of the probability that is spread over all classes (Szegedy et al., 2016).
    """
    if labels.is_floating_point() and logits.shape[-1] == 2:
        return F.binary_cross_entropy_with_logits(margins(logits), labels, reduction="none").mean(dim=1)
    if labels.is_floating_point():
        return (logits.squeeze(-1) - labels).pow(2).mean(dim=1)
    by_position = F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=NO_LABEL, label_smoothing=smoothing
    )
    return mean_over_tokens(by_position.view(labels.shape), labels != NO_LABEL)


def margins(logits: Tensor) -> Tensor:
    """By how much the second of two classes is ahead, float (rows, positions).

    :param logits: Float (rows, positions, 2).
    """
    return logits[..., 1] - logits[..., 0]


def mean_over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row's values where the mask is not 0, float (rows,); 0 where it is 0 throughout.

    :param values: Float (rows, tokens).
    :param mask: Of the same shape.
    """
    weight = mask.to(values.dtype)
    return (values * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
