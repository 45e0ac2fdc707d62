"""One training on `transformers.Trainer`: batches by length, checkpoints, resuming, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint

from compress.console import progress, say
from compress.data.encode import Encoded, LengthBucketSampler, pad
from compress.recipe import Training

Example = dict[str, Any]
"""An encoded row with ``labels`` and, where a teacher's outputs go with it, its ``row`` number."""


def examples(encoded: Sequence[Encoded], targets: Sequence[int], *, numbered: bool = False) -> list[Example]:
    """Rows as the trainer wants them."""
    return [
        {**row, "labels": target, **({"row": index} if numbered else {})}
        for index, (row, target) in enumerate(zip(encoded, targets, strict=True))
    ]


def collator(pad_id: int) -> Callable[[list[Example]], dict[str, torch.Tensor]]:
    """Pad a batch to its longest row."""

    def collate(batch: list[Example]) -> dict[str, torch.Tensor]:
        inputs = pad([{k: v for k, v in row.items() if k not in ("labels", "row")} for row in batch], pad_id)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        tensors["labels"] = torch.tensor([row["labels"] for row in batch])
        return tensors

    return collate


class MaskingTrainer(Trainer):
    """A trainer that hides a share of the tokens in every training step, which keeps small models from overfitting."""

    mask_probability = 0.0

    def _get_train_sampler(self, train_dataset=None):
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        return LengthBucketSampler([len(row["input_ids"]) for row in rows], self.args.train_batch_size, self.args.seed)

    def training_step(self, model, inputs, num_items_in_batch=None):
        tokenizer: Any = self.processing_class
        if self.mask_probability and tokenizer.mask_token_id is not None:
            ids = inputs["input_ids"]
            special = torch.tensor(tokenizer.all_special_ids, device=ids.device)
            hidden = (torch.rand(ids.shape, device=ids.device) < self.mask_probability) & ~torch.isin(ids, special)
            inputs["input_ids"] = ids.masked_fill(hidden, tokenizer.mask_token_id)
        return super().training_step(model, inputs, num_items_in_batch)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train_examples: Sequence[Example],
    validation_examples: Sequence[Example],
    settings: Training,
    scratch: Path,
    *,
    title: str,
    seed: int,
    trainer_class: type[MaskingTrainer] = MaskingTrainer,
    data_collator: Callable[[list[Example]], dict[str, torch.Tensor]] | None = None,
    **trainer_arguments: Any,
) -> dict[str, Any]:
    """Train a model in place and leave it at its best epoch by validation accuracy.

    :param scratch: Folder of the checkpoints; a training that was interrupted goes on from the last of them.
    :param trainer_arguments: Passed on to ``trainer_class``.
    :return: Epochs trained, the best validation accuracy and the seconds it took.
    """
    trainer = trainer_class(
        model=model,
        args=_arguments(settings, scratch, seed),
        train_dataset=train_examples,
        eval_dataset=validation_examples,
        data_collator=data_collator or collator(tokenizer.pad_token_id),
        processing_class=tokenizer,
        compute_metrics=_accuracy,
        callbacks=[_Reporter(title)],
        **trainer_arguments,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.mask_probability = settings.mask_probability
    checkpoint = get_last_checkpoint(str(scratch)) if scratch.is_dir() else None
    if checkpoint:
        say(f"{title}: going on from {Path(checkpoint).name}")
    result = trainer.train(resume_from_checkpoint=checkpoint)
    return {
        "epochs": round(float(trainer.state.epoch or 0), 2),
        "steps": trainer.state.global_step,
        "best validation accuracy": round(float(trainer.state.best_metric or 0), 4),
        "seconds": round(result.metrics["train_runtime"], 1),
    }


def _arguments(settings: Training, scratch: Path, seed: int) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=2 * settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=min(settings.warmup, 0.99),
        label_smoothing_factor=settings.label_smoothing,
        adam_beta2=0.98,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_strategy="epoch",
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        data_seed=seed,
    )


def _accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(axis=-1) == prediction.label_ids))}


class _Reporter(TrainerCallback):
    """A progress bar while training, and one line an epoch."""

    def __init__(self, title: str):
        self._title = title
        self._progress = progress()
        self._loss = float("nan")

    def on_train_begin(self, args, state, control, **kwargs):
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=state.max_steps, completed=state.global_step)

    def on_step_end(self, args, state, control, **kwargs):
        self._progress.update(self._task, completed=state.global_step)

    def on_log(self, args, state, control, logs=None, **kwargs):
        self._loss = (logs or {}).get("loss", self._loss)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        accuracy = (metrics or {}).get("eval_accuracy")
        shown = f", validation accuracy {accuracy:.3f}" if accuracy is not None else ""
        say(f"{self._title}: epoch {state.epoch:.0f} of {state.num_train_epochs}, loss {self._loss:.3f}{shown}")

    def on_train_end(self, args, state, control, **kwargs):
        self._progress.stop()
