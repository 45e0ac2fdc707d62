"""Numbers are learnt as standard deviations from their mean, whatever their unit.

What a model's last layer says is brought into that unit before a training and back after it: the layer is linear, so
that a trained model says numbers as its labels are, and nothing beside it has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear
from transformers import PreTrainedModel

from compress.console import say
from compress.models.outputs import outputs_of
from compress.tasks.contract import Task


@dataclass(frozen=True)
class Unit:
    """What numbers are learnt in: ``(number − mean) / deviation``."""

    mean: float
    deviation: float

    def of(self, numbers: Tensor) -> Tensor:
        """Numbers in the unit of the labels, in this one."""
        return (numbers - self.mean) / self.deviation

    def undone(self, numbers: Tensor) -> Tensor:
        """Numbers in this unit, in that of the labels."""
        return numbers * self.deviation + self.mean


@contextmanager
def standard_unit(
    title: str, model: PreTrainedModel, task: Task, labels: np.ndarray, sample: Mapping[str, Tensor]
) -> Iterator[Unit | None]:
    """Let a model learn numbers in standard deviations while the block runs; after it, it says them as the labels are.

    :param title: Of the training, for people.
    :param labels: All that are learnt from, float (labels,).
    :param sample: Inputs of some rows with their ``labels``.
    :return: The unit that the labels, and what a teacher says, are to be brought into; none where labels are no
        numbers, or the model does not end with a layer that can be brought there.
    """
    if task.PROBLEM_TYPE != "regression":
        yield None
        return
    linear = [module for module in model.modules() if isinstance(module, Linear) and module.out_features == 1]
    head = linear[-1] if linear else None
    unit = _unit_of(labels, shifts=head is not None and head.bias is not None)
    said = _said(model, task, sample)
    if head is None or not _speaks(head, unit, model, task, sample):
        say(f"{title}: the model does not end with a linear layer: labels are learnt as they are; bring them near 0")
        yield None
        return
    wanted = sample["labels"]
    if (said - wanted).square().mean() / unit.deviation**2 < (said - unit.of(wanted)).square().mean():
        _change(head, Unit(-unit.mean / unit.deviation, 1 / unit.deviation))  # it speaks of labels already
    yield unit
    _change(head, unit)


def _unit_of(labels: np.ndarray, *, shifts: bool) -> Unit:
    """That of labels; of a layer that cannot shift numbers, around 0."""
    numbers = labels.astype(np.float64)
    mean = float(numbers.mean()) if shifts else 0.0
    return Unit(mean, float(np.sqrt(np.square(numbers - mean).mean())) or 1.0)


def _change(head: Linear, unit: Unit) -> None:
    """Let a layer say what it says in this unit in that of the labels."""
    with torch.no_grad():
        head.weight.mul_(unit.deviation)
        if head.bias is not None:
            head.bias.copy_(unit.undone(head.bias))


def _speaks(head: Linear, unit: Unit, model: PreTrainedModel, task: Task, sample: Mapping[str, Tensor]) -> bool:
    """Whether what a model says follows from this layer alone."""
    said, before = _said(model, task, sample), [values.detach().clone() for values in head.parameters()]
    _change(head, unit)
    changed = _said(model, task, sample)
    with torch.no_grad():
        for values, old in zip(head.parameters(), before, strict=True):
            values.copy_(old)
    return torch.allclose(changed, unit.undone(said), rtol=1e-3, atol=1e-3 * unit.deviation)


def _said(model: PreTrainedModel, task: Task, sample: Mapping[str, Tensor]) -> Tensor:
    """What a model says of some rows, float (rows, 1)."""
    inputs, was_training = {name: values for name, values in sample.items() if name != "labels"}, model.training
    model.eval()
    with torch.no_grad():
        outputs = outputs_of(model(**task.model_inputs(model.config, inputs, sample["labels"])), task.OUTPUTS)
    model.train(was_training)
    return task.positions(outputs, inputs["attention_mask"]).squeeze(-1)
