"""The trainer that holds a student to the cached outputs of its teacher."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Identity, Linear, Module, ModuleDict, ModuleList

from compress.models.outputs import outputs_of
from compress.recipe.student import Distillation
from compress.student.losses import (
    group_dro_loss,
    hard_and_soft_loss,
    order_loss,
    ranking_loss,
    relation_loss,
    sentence_loss,
    state_loss,
)
from compress.student.vectors import VectorTargets, vector_losses
from compress.tasks.contract import Example
from compress.teacher.signals import SignalPlan, read
from compress.teacher.store import TeacherOutputs
from compress.training.collator import Collator
from compress.training.losses import hard_loss, margins
from compress.training.trainer import BucketTrainer

_AS_THEY_ARE = VectorTargets()


class Companion(Module):
    """What is trained or kept beside the student and saved in its checkpoints, but not with the finished model.

    ``projections`` take the student's states to the teacher's width; ``language_log_weights`` are the logarithms
    of group DRO's.
    """

    def __init__(self, plan: SignalPlan, width: int, teacher_width: int, attention_heads: int, languages: int):
        super().__init__()
        self.attention_heads = attention_heads
        count = {"hidden": len(plan.student.hidden), "sentence": int(plan.student.sentence)}

        def projection() -> Module:
            return Linear(width, teacher_width) if width != teacher_width else Identity()

        self.projections = ModuleDict({name: ModuleList(projection() for _ in range(n)) for name, n in count.items()})
        self.language_log_weights: Tensor
        self.register_buffer("language_log_weights", torch.full((languages,), -math.log(languages)))


def signal_losses(
    settings: Distillation,
    student: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor],
    mask: Tensor,
    projections: ModuleDict,
    attention_heads: int,
) -> dict[str, Tensor]:
    """The weighted losses of all signals but the logits.

    :param student: What `compress.teacher.signals.read` found; the layers at one place are compared.
    :param teacher: The same of the teacher.
    :param mask: Attention mask (rows, tokens).
    :param projections: From the student's widths to the teacher's, for ``hidden`` and ``sentence``.
    :return: Float (rows,) for each signal that has a weight.
    """
    losses: dict[str, Tensor] = {}
    if "hidden" in student:
        projected = [
            state_loss(projection(states), wanted, mask)
            for projection, states, wanted in zip(
                projections["hidden"].children(), student["hidden"].unbind(2), teacher["hidden"].unbind(2), strict=True
            )
        ]
        if settings.embeddings.weight:
            losses["embeddings"] = settings.embeddings.weight * projected.pop(0)
        if projected:
            losses["hidden"] = settings.hidden.weight * torch.stack(projected).mean(dim=0)

    def compared(first: str, second: str, layer: int, heads: int) -> Tensor:
        return relation_loss(
            (student[first][:, :, layer], student[second][:, :, layer]),
            (teacher[first][:, :, layer], teacher[second][:, :, layer]),
            heads,
            mask,
        )

    if settings.attention.weight:
        layers = student["query"].shape[2] - bool(settings.relations.weight)  # the last one is for the relations
        maps = [compared("query", "key", layer, attention_heads) for layer in range(layers)]
        losses["attention"] = settings.attention.weight * torch.stack(maps).mean(dim=0)
    if settings.relations.weight:
        relations = [compared(name, name, -1, settings.relations.heads) for name in ("query", "key", "value")]
        losses["relations"] = settings.relations.weight * torch.stack(relations).mean(dim=0)
    if settings.sentences.weight:
        projection = next(projections["sentence"].children())
        losses["sentences"] = settings.sentences.weight * sentence_loss(
            projection(student["sentence"]), teacher["sentence"]
        )
    return losses


class DistillationCollator:
    """Adds to a batch what the teacher said about its rows; validation rows have labels, and get nothing, or have none.

    :param output_axis: As `Task.OUTPUT_AXIS`.
    """

    def __init__(self, collator: Collator, outputs: TeacherOutputs, output_axis: str | None):
        self._collator, self._outputs = collator, outputs
        self._elements = output_axis or "input_ids"

    @property
    def epoch(self) -> int:
        """Of the collator: what is hidden of a row depends on it."""
        return self._collator.epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._collator.epoch = epoch

    def __call__(self, batch: list[Example]) -> dict[str, Tensor]:
        tensors = self._collator(batch)
        if "read" in batch[0]:
            said = self._outputs.batch([row["read"] for row in batch], tensors[self._elements].shape[1])
            tensors.update({f"teacher_{name}": values for name, values in said.items()})
        if "weight" in batch[0]:
            tensors["weight"] = torch.tensor([row["weight"] for row in batch])
            tensors["language"] = torch.tensor([row["language"] for row in batch])
        if "query" in batch[0]:
            tensors["query"] = torch.tensor([row["query"] for row in batch])
        return tensors


class DistillationTrainer(BucketTrainer):
    """Hard and soft loss, or those of vectors, and the signals of the plan, weighted by row, and by language if the
    weakest is protected.

    :param targets: Which vectors are learnt, where the task's models give some.
    """

    def __init__(
        self,
        *args: Any,
        distillation: Distillation,
        plan: SignalPlan,
        targets: VectorTargets = _AS_THEY_ARE,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self._distillation = distillation
        self._plan = plan
        self._targets = targets.on(self.args.device)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        given = [name for name in inputs if name.startswith("teacher_")]
        teacher = {name.removeprefix("teacher_"): inputs.pop(name) for name in given}
        queries = inputs.pop("query", None)
        if not teacher and queries is not None:
            return self._validation_loss_of_order(model, inputs, queries, return_outputs)
        if not teacher:  # validation
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        if "weight" not in inputs:
            return self._validation_loss(model, inputs, teacher, return_outputs)
        labels, weight, language = (inputs.pop(name) for name in ("labels", "weight", "language"))
        companion: Companion = self.own_model.companion
        settings, mask = self._distillation, inputs["attention_mask"]
        student = read(model, self._model_inputs(inputs, labels), self._plan.student, self.task.OUTPUTS)
        if self.task.VECTORS:
            parts = self._vector_losses(student["logits"], teacher["logits"])
        else:
            logits, wanted = (self.task.positions(found["logits"], mask) for found in (student, teacher))
            parts = self._label_losses(logits, wanted, labels, queries, teacher.get("classes"))
        heads = companion.attention_heads
        parts |= signal_losses(settings, student, teacher, mask, companion.projections, heads)
        for name, part in parts.items():
            self.loss_parts.setdefault(name, []).append(part.detach().mean())
        by_row = weight * torch.stack(list(parts.values())).sum(dim=0)
        if settings.group_dro:
            return group_dro_loss(
                by_row,
                language,
                companion.language_log_weights,
                settings.group_dro,
                self.accelerator.num_processes,
                lambda sums: self.accelerator.reduce(sums, reduction="sum"),
            )
        return by_row.mean()

    def _vector_losses(self, found: Tensor, told: Tensor) -> dict[str, Tensor]:
        targets = self._targets
        return vector_losses(self._distillation.vectors, found, targets.of(told), targets.references)

    def _label_losses(
        self, logits: Tensor, wanted: Tensor, labels: Tensor, queries: Tensor | None, classes: Tensor | None
    ) -> dict[str, Tensor]:
        """Of labels and of what the teacher says, those that have a weight."""
        settings = self._distillation
        if queries is not None:
            hard, soft = self._ranking_losses(logits, labels, wanted, queries)
        else:
            hard, soft = hard_and_soft_loss(
                logits,
                self.in_unit(labels),
                self.in_unit(wanted),
                settings.alpha,
                self._temperature(),
                classes,
                self.settings.label_smoothing,
            )
        parts = {"hard": hard} if settings.alpha > 0 else {}
        return {**parts, "soft": soft} if settings.alpha < 1 else parts

    def _ranking_losses(self, logits: Tensor, labels: Tensor, wanted: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Of labels and of the teacher's scores."""
        settings = self._distillation
        student, teacher = (margins(found).squeeze(1) for found in (logits, wanted))
        soft = ranking_loss(student, teacher, queries, settings.ranking, self._temperature())
        return settings.alpha * hard_loss(logits, labels), (1 - settings.alpha) * soft

    def _validation_loss(
        self, model: Any, inputs: dict[str, Any], teacher: Mapping[str, Tensor], return_outputs: bool
    ) -> Any:
        """That of vectors, without the other signals."""
        inputs.pop("labels")
        found = outputs_of(model(**inputs), self.task.OUTPUTS)
        loss = torch.stack([*self._vector_losses(found, teacher["logits"]).values()]).sum(dim=0).mean()
        return (loss, {"logits": found}) if return_outputs else loss

    def _validation_loss_of_order(
        self, model: Any, inputs: dict[str, Any], queries: Tensor, return_outputs: bool
    ) -> Any:
        """That of rankings: cross-entropy with the labels would follow where scores lie, which they leave open."""
        labels = inputs.pop("labels")
        found = outputs_of(model(**self._model_inputs(inputs, labels)), self.task.OUTPUTS)
        logits = self.task.positions(found, inputs["attention_mask"])
        loss = order_loss(margins(logits).squeeze(1), labels.squeeze(1), queries).mean()
        return (loss, {"logits": logits}) if return_outputs else loss

    def _temperature(self) -> float:
        settings = self._distillation
        if settings.final_temperature is None:
            return settings.temperature
        share = self.state.global_step / max(self.state.max_steps, 1)
        return settings.temperature + share * (settings.final_temperature - settings.temperature)
