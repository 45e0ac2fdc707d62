"""What a student learns of its teacher's vectors, in place of labels. Each loss gives one value a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from compress.models.sentence_folder import head_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from compress.recipe.student import VectorSignal


_BLOCK = 10_000  # vectors in 64 bits at once


@dataclass(frozen=True)
class VectorTargets:
    """The vectors that a student learns: its teacher's or, with ``axes``, float (teacher's numbers, numbers), these on
    their principal components, of length one where the student's are; and ``references``, float (texts, numbers): some
    of these vectors, which those of a batch are compared with."""

    axes: Tensor | None = None
    normalizes: bool = False
    references: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def of(self, vectors: Tensor) -> Tensor:
        """What is learnt of the teacher's vectors, float (rows, numbers)."""
        if self.axes is None:
            return vectors
        turned = vectors @ self.axes
        return F.normalize(turned, dim=-1) if self.normalizes else turned

    def on(self, device: torch.device) -> VectorTargets:
        """The same, in the memory of a device."""
        axes = self.axes if self.axes is None else self.axes.to(device)
        return replace(self, axes=axes, references=self.references.to(device))

    def compared_with(self, vectors: Tensor) -> VectorTargets:
        """The same, with the teacher's vectors of some texts as ``references``."""
        return replace(self, references=self.of(vectors))


def vector_targets(
    settings: VectorSignal, config: PreTrainedConfig, vectors: Callable[[], np.ndarray]
) -> tuple[VectorTargets, float]:
    """What a student learns, and which share of the teacher's vectors (of the sum of their squares) that has.

    :param config: The student's.
    :param vectors: Reads the teacher's, of all texts, float (texts, numbers), where they are looked at.
    """
    if settings.projection == "dense":
        return VectorTargets(), 1.0
    head = head_of(config)
    axes, share = principal_components(vectors(), head.dimensions(config.hidden_size))
    return VectorTargets(torch.from_numpy(axes), head.normalizes), share


def principal_components(vectors: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """The axes, float32 (numbers, count), that keep most of vectors' products with one another, the first the most, and
    the share of the sum of their squares that is kept.

    Nothing is subtracted: products with what is left stay what they are.
    """
    products = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK].astype(np.float64)
        products += block.T @ block
    values, axes = np.linalg.eigh(products)
    values, axes = values[::-1].clip(min=0), axes[:, ::-1][:, :count]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(count)])  # of an axis either is right
    return (axes * signs).astype(np.float32), float(values[:count].sum() / values.sum())


def vector_losses(settings: VectorSignal, student: Tensor, teacher: Tensor, references: Tensor) -> dict[str, Tensor]:
    """The weighted losses of vectors, float (rows,) for each that has a weight.

    :param student: Float (rows, numbers).
    :param teacher: What is to be learnt, of the same shape.
    :param references: Of other texts, float (texts, numbers).
    """
    student, teacher = student.float(), teacher.float()
    losses: dict[str, Tensor] = {}
    if settings.cosine:
        losses["cosine"] = settings.cosine * (1 - F.cosine_similarity(student, teacher, dim=-1))
    if settings.mse:
        losses["mse"] = settings.mse * (student - teacher).pow(2).mean(dim=-1)
    if settings.similarities:
        parts = [reference_loss(student, teacher, references, settings.temperature)]
        parts += [similarity_loss(student[:, :size], teacher, settings.temperature) for size in settings.dimensions]
        losses["similarities"] = settings.similarities * torch.stack(parts).mean(dim=0)
    return losses


def reference_loss(student: Tensor, teacher: Tensor, references: Tensor, temperature: float) -> Tensor:
    """``KL(softmax(S_t / T) ‖ softmax(S_s / T))`` of each row's cosines with the same vectors (after SEED: Fang et al.,
    2021), float (rows,). There can be many more of them than rows in a batch, and those that are near tell most.

    :param student: Float (rows, numbers).
    :param teacher: Of the same shape.
    :param references: Float (texts, numbers).
    """
    unit = F.normalize(references.to(student), dim=-1)

    def told(vectors: Tensor) -> Tensor:
        return F.log_softmax(F.normalize(vectors, dim=-1) @ unit.T / temperature, dim=-1)

    return F.kl_div(told(student), told(teacher), reduction="none", log_target=True).sum(dim=-1)


def similarity_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``KL(softmax(S_t / T) ‖ softmax(S_s / T))`` of each row's cosines with the others of its batch (after Passalis &
    Tefas, 2018; Tung & Mori, 2019), float (rows,).

    :param student: Float (rows, numbers): a part of its vectors, whose like the teacher has not.
    :param teacher: Float (rows, numbers), of as many numbers or others.
    """
    rows = len(student)
    if rows < 2:  # it has no others
        return 0 * student.sum(dim=-1)
    others = ~torch.eye(rows, dtype=torch.bool, device=student.device)

    def told(vectors: Tensor) -> Tensor:
        unit = F.normalize(vectors, dim=-1)
        return F.log_softmax((unit @ unit.T)[others].view(rows, rows - 1) / temperature, dim=-1)

    return F.kl_div(told(student), told(teacher), reduction="none", log_target=True).sum(dim=-1)
