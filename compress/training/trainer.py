"""One training on `transformers.Trainer`: batches by length, checkpoints, resuming, progress."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback

from compress.console import say
from compress.data.batches import is_short_of_memory
from compress.data.encode import LengthBucketSampler
from compress.errors import CompressError
from compress.models.outputs import outputs_of
from compress.processes import interrupts_wait, process_count
from compress.recipe.training import Training
from compress.tasks.contract import NO_LABEL, Example, Task
from compress.training.course import TrainingCourse, check_loss
from compress.training.losses import hard_loss
from compress.training.memory import check_training
from compress.training.precision import compute_precision, takes_bf16, threads_for, told_without_bf16
from compress.training.progress import Reporter
from compress.training.rows import TrainingData
from compress.training.summary import TrainingSummary
from compress.training.units import Unit, standard_unit
from compress.training.weights import changed_weights

_SAMPLE_ROWS = 16


class BucketTrainer(Trainer):
    """A trainer whose batches hold rows of similar length, in random order, with balanced languages if asked for."""

    loss_parts: dict[str, list[torch.Tensor]]
    last_loss: torch.Tensor

    def __init__(
        self,
        *args: Any,
        title: str,
        task: Task,
        settings: Training,
        languages: np.ndarray,
        unit: Unit | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # each part of a step is a mean over its rows
        self.title = title
        self.task = task
        self.settings = settings
        self.languages = languages
        self.unit = unit
        self.loss_parts = {}

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.last_loss = super().training_step(*args, **kwargs)
        return self.last_loss

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        check_loss(
            self.title, self.last_loss.item(), f"by step {self.state.global_step}"
        )  # else it would be gone on from
        super()._save_checkpoint(*args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        labels = inputs.pop("labels")
        outputs = outputs_of(model(**self._model_inputs(inputs, labels)), self.task.OUTPUTS)
        logits = self.task.positions(outputs, inputs["attention_mask"])
        smoothing = self.settings.label_smoothing if model.training else 0.0
        loss = hard_loss(logits, self.in_unit(labels), smoothing).mean()
        return (loss, {"logits": logits}) if return_outputs else loss

    def in_unit(self, numbers: torch.Tensor) -> torch.Tensor:
        """Labels, or what a teacher says, in the unit that they are learnt in."""
        return numbers if self.unit is None else self.unit.of(numbers)

    @property
    def own_model(self) -> Any:
        """The model that is trained, unwrapped; accelerate would look through all its modules for it, at each step."""
        return self.model

    def _model_inputs(self, inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.task.model_inputs(self.own_model.config, inputs, labels)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        step = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
        sampler = LengthBucketSampler(
            rows.lengths,
            step,
            self.args.seed,
            self.languages,
            self.settings.language_exponent,
            rows.column("query"),  # whose passages are compared with one another
        )
        collate: Any = self.data_collator
        sampler.on_epoch = lambda epoch: setattr(collate, "epoch", epoch)
        return sampler

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            check_loss(self.title, logs["loss"], f"by step {self.state.global_step}")
            logs.update({f"loss_{name}": float(torch.stack(values).mean()) for name, values in self.loss_parts.items()})
            self.loss_parts = {}
        super().log(logs, *args, **kwargs)


@dataclass(frozen=True)
class TrainingJob:
    """One training: what is learned from, how, and where its files lie.

    ``title`` is shown to people. ``scratch`` holds the checkpoints: a training that was interrupted goes on from the
    last whole one; ``logs`` is the folder of the TensorBoard log. ``collate`` makes batches of examples. The best epoch
    is chosen by the accuracy on the validation rows, or where ``by_accuracy`` is false by their loss. ``trainer`` is
    called as `BucketTrainer` is. ``until`` stops after so many whole epochs of those that the settings plan, of which
    the learning rate hangs: the same job without it goes on from there, as if nothing had been. ``special`` are the
    tokens that ``collate`` may put beside those of the examples; with them the embeddings of tokens that do not occur
    are left alone.
    """

    title: str
    task: Task
    data: TrainingData
    settings: Training
    seed: int
    scratch: Path
    logs: Path
    collate: Callable[[list[Example]], dict[str, torch.Tensor]]
    by_accuracy: bool = True
    trainer: Callable[..., BucketTrainer] = BucketTrainer
    until: int | None = None
    special: Sequence[int] = ()


def train(model: PreTrainedModel, job: TrainingJob) -> TrainingSummary:
    """Train a model in place and leave it at its best epoch, its configuration as it was.

    :raises CompressError: If a step cannot be divided among the processes, or a loss is no number, or memory is
        short.
    """
    try:
        with (
            _model_kept(model),
            threads_for(job.settings),
            changed_weights(model, job.settings.freeze, job.data, job.special),
            standard_unit(job.title, model, job.task, job.data.train.labels, _sample(job)) as unit,
        ):
            return _train(model, job, unit)
    except Exception as error:
        if not is_short_of_memory(error):
            raise
        raise CompressError(
            f"{job.title}: memory is too short for a step; raise training.gradient_accumulation, which divides it, or "
            "lower data.max_length"
        ) from error


def _sample(job: TrainingJob) -> dict[str, torch.Tensor]:
    """Some rows, as a batch."""
    rows = job.data.validation
    return job.collate([rows[index] for index in range(0, len(rows), max(1, len(rows) // _SAMPLE_ROWS))])


def _train(model: PreTrainedModel, job: TrainingJob, unit: Unit | None) -> TrainingSummary:
    data, settings = job.data, job.settings
    if settings.precision == "bf16" and not takes_bf16():
        say(told_without_bf16(job.title))
    longest = data.train[int(data.train.lengths.argmax())]
    check_training(job.title, model, job.task, longest, settings, process_count())
    trainer = job.trainer(
        model=model,
        args=_arguments(job),
        train_dataset=data.train,
        eval_dataset=data.validation,
        data_collator=job.collate,
        compute_metrics=partial(_accuracies, languages=data.validation_languages) if job.by_accuracy else None,
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(dim=-1),
        callbacks=[TrainingCourse(job.title, settings, job.until)],
        title=job.title,
        task=job.task,
        settings=settings,
        languages=data.train_languages,
        unit=unit,
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.is_world_process_zero():
        trainer.add_callback(Reporter(job.title, settings.batch_size))
        trainer.add_callback(TensorBoardCallback(_summary_writer(job.logs)))
    checkpoint = last_whole_checkpoint(job.scratch)
    if checkpoint:
        say(f"{job.title}: going on from {checkpoint.name}")
    with interrupts_wait():
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return TrainingSummary(
        epochs=round(float(trainer.state.epoch or 0), 2),
        steps=trainer.state.global_step,
        metric="accuracy" if job.by_accuracy else "loss",
        best=round(float(trainer.state.best_metric or 0), 4),
        precision=compute_precision(settings),
        seconds=round(result.metrics["train_runtime"], 1),
    )


@contextmanager
def _model_kept(model: PreTrainedModel) -> Iterator[None]:
    """Undo what libraries set for the training alone: no cache of keys and values, which would be saved, and a forward
    pass in half precision."""
    before = dict(vars(model.config))
    try:
        yield
    finally:
        vars(model.config).clear()
        vars(model.config).update(before)
        if vars(model).pop("_original_forward", None):
            del model.forward


def _arguments(job: TrainingJob) -> TrainingArguments:
    settings = job.settings
    cuda, precision = torch.cuda.is_available(), compute_precision(settings)
    processes = process_count()
    parts = processes * settings.gradient_accumulation
    if settings.batch_size % parts:
        raise CompressError(
            f"training.batch_size: {settings.batch_size} rows cannot be divided among {processes} processes and "
            f"{settings.gradient_accumulation} parts; use a multiple of {parts}"
        )
    arguments = TrainingArguments(
        output_dir=str(job.scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // parts,
        gradient_accumulation_steps=settings.gradient_accumulation,
        per_device_eval_batch_size=2 * settings.batch_size // parts,  # without gradients twice as many fit
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=min(settings.learning_rate_warmup, 0.99),
        adam_beta2=0.98,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy" if job.by_accuracy else "loss",
        logging_steps=20,
        logging_nan_inf_filter=False,  # such a loss ends the training
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=cuda,
        torch_compile=settings.compile,
        use_cpu=not cuda,
        # The projections of a student's signals are used outside of its forward pass: always the same ones.
        ddp_static_graph=processes > 1,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        disable_tqdm=True,
        report_to="none",
        seed=job.seed,
        data_seed=job.seed,
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


def last_whole_checkpoint(scratch: Path) -> Path | None:
    """The newest checkpoint that was written to its end: the trainer writes its state last."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text("utf-8"))
            return path
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
    return None
