"""One training on `transformers.Trainer`: batches by length, checkpoints, resuming, progress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.trainer_callback import TrainerCallback

from compress.console import say
from compress.data.encode import LengthBucketSampler, pad, padded
from compress.data.table import EncodedTable, RowTable
from compress.errors import CompressError
from compress.processes import process_count, raise_if_interrupted
from compress.recipe.recipe import Training
from compress.student.losses import hard_loss
from compress.tasks.contract import NO_LABEL, Encode, Example, Task
from compress.teacher.signals import outputs_of
from compress.training.progress import Reporter


class TrainingRows(Sequence[Example]):
    """Examples on disk, with what else goes with each in columns; those that are trained on have a ``number``."""

    def __init__(self, encoded: EncodedTable, columns: Mapping[str, np.ndarray]):
        self._encoded = encoded
        self._columns = columns
        self.lengths = encoded.lengths
        self.rows = encoded.rows

    def with_columns(self, columns: Mapping[str, np.ndarray]) -> TrainingRows:
        """The same examples with more columns."""
        return TrainingRows(self._encoded, {**self._columns, **columns})

    def __len__(self) -> int:
        return len(self._encoded)

    def __getitem__(self, index):
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Example]:
        """Examples of a batch, read together: the loader asks for them so."""
        rows = self._encoded.at(indices)
        return [
            {**row, **{name: values[index] for name, values in self._columns.items()}}
            for row, index in zip(rows, indices, strict=True)
        ]


@dataclass(frozen=True)
class Material:
    """The examples of a training, and the language of each."""

    train: TrainingRows
    validation: TrainingRows
    train_languages: np.ndarray
    validation_languages: np.ndarray


def material(train_rows: RowTable, validation_rows: RowTable, encode: Encode, store: Path) -> Material:
    """Encode the rows; those of the validation are put in order of length, so that little of it is padding.

    :param store: Folder for the tokens.
    """
    encoded = train_rows.encoded(encode, store / "train.arrow")
    validation = validation_rows.encoded(encode, store / "validation.arrow")
    validation = validation.select(np.argsort(validation.lengths, kind="stable"))
    return Material(
        TrainingRows(encoded, {"number": np.arange(len(encoded))}),
        TrainingRows(validation, {}),
        train_rows.column("lang")[encoded.rows],
        validation_rows.column("lang")[validation.rows],
    )


class Collator:
    """Pads a batch to its longest row and hides a share of the tokens of training rows, as regularisation.

    What is hidden of a row depends on the seed, the epoch and the row alone: not on the batch, the process, or whether
    the training was interrupted.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, mask_probability: float, seed: int):
        self._pad_id = tokenizer.pad_token_id
        self._mask_id = tokenizer.mask_token_id
        self._special = np.array(tokenizer.all_special_ids)
        self._probability = mask_probability if self._mask_id is not None else 0.0
        self._seed = seed
        self.epoch = 0

    def __call__(self, batch: list[Example]) -> dict[str, torch.Tensor]:
        inputs = pad(batch, self._pad_id)
        if self._probability and "number" in batch[0]:
            self._hide(inputs["input_ids"], [example["number"] for example in batch])
        inputs["labels"] = padded([example["labels"] for example in batch], NO_LABEL)
        return {name: torch.from_numpy(array) for name, array in inputs.items()}

    def _hide(self, ids: np.ndarray, numbers: list[int]) -> None:
        draws = np.stack(
            [
                np.random.Generator(np.random.Philox(key=[self._seed, (self.epoch << 40) + number])).random(
                    ids.shape[1], dtype=np.float32
                )
                for number in numbers
            ]
        )
        ids[(draws < self._probability) & ~np.isin(ids, self._special)] = self._mask_id


class BucketTrainer(Trainer):
    """A trainer whose batches hold rows of similar length, in random order, with balanced languages if asked for."""

    loss_parts: dict[str, list[torch.Tensor]]

    def __init__(self, *args: Any, task: Task, settings: Training, languages: np.ndarray, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # each part of a step is a mean over its rows
        self.task = task
        self.settings = settings
        self.languages = languages
        self.loss_parts = {}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        outputs = outputs_of(model(**self._model_inputs(model, inputs, labels)), self.task.OUTPUTS)
        logits = self.task.positions(outputs, inputs["attention_mask"])
        loss = hard_loss(logits, labels, self.settings.label_smoothing if model.training else 0.0).mean()
        return (loss, {"predicted": logits.argmax(dim=-1)}) if return_outputs else loss

    def _model_inputs(self, model, inputs, labels):
        return self.task.model_inputs(self.accelerator.unwrap_model(model).config, inputs, labels)

    def _get_train_sampler(self, train_dataset=None):
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        step = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        sampler = LengthBucketSampler(
            rows.lengths, step, self.args.seed, self.languages, self.settings.language_exponent
        )
        collate: Any = self.data_collator
        sampler.on_epoch = lambda epoch: setattr(collate, "epoch", epoch)
        return sampler

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs.update({f"loss_{name}": float(torch.stack(values).mean()) for name, values in self.loss_parts.items()})
            self.loss_parts = {}
        super().log(logs, *args, **kwargs)


def train(
    model: PreTrainedModel,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    rows: Material,
    settings: Training,
    scratch: Path,
    *,
    title: str,
    seed: int,
    logs: Path,
    collate: Callable[[list[Example]], dict[str, torch.Tensor]],
    trainer_class: type[BucketTrainer] = BucketTrainer,
    by_accuracy: bool = True,
    **trainer_arguments: Any,
) -> dict[str, Any]:
    """Train a model in place and leave it at its best epoch by validation accuracy, or else by validation loss.

    :param scratch: Folder of the checkpoints; a training that was interrupted goes on from the last whole one.
    :param logs: Folder of the TensorBoard log.
    :param trainer_arguments: Passed on to ``trainer_class``.
    :return: Epochs and steps, the best validation figure and the seconds it took.
    """
    languages = rows.validation_languages
    trainer = trainer_class(
        model=model,
        args=_arguments(settings, scratch, seed, by_accuracy),
        train_dataset=rows.train,
        eval_dataset=rows.validation,
        data_collator=collate,
        processing_class=tokenizer,
        compute_metrics=(lambda prediction: _accuracies(prediction, languages)) if by_accuracy else None,
        callbacks=[_Checkpoints(settings.checkpoint_steps)],
        task=task,
        settings=settings,
        languages=rows.train_languages,
        **trainer_arguments,
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        trainer.add_callback(Reporter(title, settings.batch_size))
        trainer.add_callback(TensorBoardCallback(_summary_writer(logs)))
    checkpoint = _last_whole_checkpoint(scratch)
    if checkpoint:
        say(f"{title}: going on from {checkpoint.name}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    figure = "best validation accuracy" if by_accuracy else "best validation loss"
    return {
        "epochs": round(float(trainer.state.epoch or 0), 2),
        "steps": trainer.state.global_step,
        figure: round(float(trainer.state.best_metric or 0), 4),
        "seconds": round(result.metrics["train_runtime"], 1),
    }


def _arguments(settings: Training, scratch: Path, seed: int, by_accuracy: bool) -> TrainingArguments:
    cuda = torch.cuda.is_available()
    processes = process_count()
    parts = processes * settings.gradient_accumulation
    if settings.batch_size % parts:
        raise CompressError(
            f"training.batch_size: {settings.batch_size} rows cannot be divided among {processes} processes and "
            f"{settings.gradient_accumulation} parts; use a multiple of {parts}"
        )
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // parts,
        gradient_accumulation_steps=settings.gradient_accumulation,
        per_device_eval_batch_size=2 * settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=min(settings.warmup, 0.99),
        adam_beta2=0.98,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy" if by_accuracy else "loss",
        logging_steps=20,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=cuda,
        torch_compile=settings.compile,
        use_cpu=not cuda,
        # The projections of a student's signals are used outside of its forward pass: always the same ones.
        ddp_static_graph=processes > 1,
        bf16=cuda and torch.cuda.is_bf16_supported(),
        fp16=cuda and not torch.cuda.is_bf16_supported(),
        disable_tqdm=True,
        report_to="none",
        seed=seed,
        data_seed=seed,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # one GPU a process; several are for several processes
    return arguments


def _accuracies(prediction: Any, languages: Sequence[str] | np.ndarray) -> dict[str, float]:
    """Share of the positions that are right, of all rows and in each language."""
    wanted = prediction.label_ids != NO_LABEL
    right = (prediction.predictions == prediction.label_ids) & wanted
    array = np.asarray(languages)
    by_language = {
        f"accuracy_{language}": float(right[array == language].sum() / max(wanted[array == language].sum(), 1))
        for language in np.unique(array)
    }
    return {"accuracy": float(right.sum() / max(wanted.sum(), 1)), **by_language}


def _summary_writer(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder))


def _last_whole_checkpoint(scratch: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the trainer writes its state last."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text("utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return None


class _Checkpoints(TrainerCallback):
    """A checkpoint every so many steps, besides the one of each epoch."""

    def __init__(self, steps: int):
        self._steps = steps

    def on_step_end(self, args, state, control, **kwargs):
        raise_if_interrupted()
        if state.global_step % self._steps == 0:
            control.should_save = True
