"""The student stage: loss functions, the trainer that uses the cached teacher, and the stage itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear, ModuleList
from torch.nn import functional as F  # noqa: N812

from compress.cache import TeacherOutputs, load_cache
from compress.console import say
from compress.data.encode import encode
from compress.data.stage import load_data
from compress.models import build_student, load_classifier, load_tokenizer, summary_of
from compress.recipe import Distillation
from compress.run import Run, run_stage
from compress.training import Example, MaskingTrainer, collator, examples, train


def soft_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """``T² · KL(softmax(teacher / T) ‖ softmax(student / T))``, averaged over the rows (Hinton et al., 2015).

    :param student_logits: Float (rows, labels).
    :param teacher_logits: Float (rows, labels).
    :return: Scalar, in natural-logarithm units.
    """
    student = F.log_softmax(student_logits / temperature, dim=-1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def distillation_loss(
    student_logits: Tensor, labels: Tensor, teacher_logits: Tensor, alpha: float, temperature: float
) -> Tensor:
    """``α · cross-entropy(labels) + (1 − α) · soft loss`` (Hinton et al., 2015).

    :param labels: int64 (rows,).
    """
    hard = F.cross_entropy(student_logits, labels)
    return alpha * hard + (1 - alpha) * soft_loss(student_logits, teacher_logits, temperature)


def hidden_loss(student_states: list[Tensor], teacher_states: Tensor, projections: ModuleList, mask: Tensor) -> Tensor:
    """Mean squared error between projected student states and teacher states over real tokens (TinyBERT).

    :param student_states: One float (rows, tokens, student width) a layer.
    :param teacher_states: Float (rows, tokens, layers, teacher width).
    :param mask: Attention mask, (rows, tokens).
    """
    errors = [
        (projection(states) - teacher_states[:, :, layer]).pow(2).mean(dim=-1)
        for layer, (states, projection) in enumerate(zip(student_states, projections, strict=True))
    ]
    weight = mask.to(errors[0].dtype)
    return torch.stack([(error * weight).sum() / weight.sum() for error in errors]).mean()


def distillation_collator(pad_id: int, outputs: TeacherOutputs) -> Callable[[list[Example]], dict[str, Tensor]]:
    """Pad a batch and look up what the teacher said about its rows; validation rows have no number and get none."""
    collate_plain = collator(pad_id)

    def collate(batch: list[Example]) -> dict[str, Tensor]:
        tensors = collate_plain(batch)
        if "row" in batch[0]:
            rows = [row["row"] for row in batch]
            tensors["teacher_logits"] = torch.from_numpy(outputs.logits[rows])
            if outputs.hidden is not None:
                tensors["teacher_hidden"] = _padded_states(outputs, rows, tensors["input_ids"].shape[1])
        return tensors

    return collate


class DistillationTrainer(MaskingTrainer):
    """A trainer whose loss also holds the student to the cached outputs of its teacher."""

    def __init__(self, *args: Any, distillation: Distillation, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._distillation = distillation
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if "teacher_logits" not in inputs:  # validation
            return super().compute_loss(model, inputs, return_outputs=return_outputs)
        teacher_logits, labels = inputs.pop("teacher_logits"), inputs.pop("labels")
        teacher_hidden = inputs.pop("teacher_hidden", None)
        outputs = model(**inputs, output_hidden_states=teacher_hidden is not None)
        settings = self._distillation
        loss = distillation_loss(outputs.logits, labels, teacher_logits, settings.alpha, settings.temperature)
        if teacher_hidden is not None:
            projections = self.accelerator.unwrap_model(model).distillation_projections
            states = list(outputs.hidden_states[1:])
            mask = inputs["attention_mask"]
            loss = loss + settings.hidden_weight * hidden_loss(states, teacher_hidden, projections, mask)
        return (loss, outputs) if return_outputs else loss


def run_student_stage(run: Run) -> dict[str, Any]:
    """Fill ``student/`` with a ``save_pretrained`` folder, distilled from the teacher."""
    inputs = {
        **run.recipe.student.model_dump(mode="json"),
        "max_length": run.recipe.data.max_length,
        "seed": run.recipe.seed,
    }
    parents = ("data", "teacher", "cache")
    return run_stage(run, "student", inputs, parents, lambda folder, scratch: _build(run, folder, scratch))


def _build(run: Run, folder: Path, scratch: Path) -> dict[str, Any]:
    torch.manual_seed(run.recipe.seed)
    data, student = load_data(run), run.recipe.student
    tokenizer = load_tokenizer(str(run.path_of("teacher")))
    teacher = load_classifier(str(run.path_of("teacher")), data.labels, as_is=True)
    model = build_student(teacher, student)
    teacher_width = teacher.config.hidden_size
    del teacher
    summary = summary_of(model)
    say(f"student: {model.config.model_type} {summary['shape']}, {summary['parameters'] / 1e6:.2f} million weights")
    outputs = load_cache(run)
    if outputs.hidden is not None:
        width, layers = model.config.hidden_size, outputs.hidden.shape[1]
        model.distillation_projections = ModuleList(Linear(width, teacher_width) for _ in range(layers))
    rows = {
        split: examples(
            encode(tokenizer, data.splits[split], run.recipe.data.max_length),
            data.targets(split),
            numbered=split == "train",
        )
        for split in ("train", "validation")
    }
    summary["training"] = train(
        model,
        tokenizer,
        rows["train"],
        rows["validation"],
        student.training,
        scratch / "training",
        title="student",
        seed=run.recipe.seed,
        trainer_class=DistillationTrainer,
        data_collator=distillation_collator(tokenizer.pad_token_id, outputs),
        distillation=student.distillation,
    )
    if outputs.hidden is not None:
        del model.distillation_projections
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return summary


def _padded_states(outputs: TeacherOutputs, rows: list[int], tokens: int) -> Tensor:
    assert outputs.hidden is not None
    padded = np.zeros((len(rows), tokens, *outputs.hidden.shape[1:]), dtype=np.float32)
    for position, row in enumerate(rows):
        start, end = outputs.offsets[row], outputs.offsets[row + 1]
        padded[position, : end - start] = outputs.hidden[start:end]
    return torch.from_numpy(padded)
