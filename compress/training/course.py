"""The course of a training: when it is logged, saved, interrupted and given up."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers.trainer_callback import TrainerCallback

from compress.console import say
from compress.errors import CompressError
from compress.processes import is_interrupted, process_count, raise_if_interrupted
from compress.recipe.training import Training


def check_loss(title: str, loss: float, where: str) -> None:
    """Refuse a loss that is no number: nothing that is trained after it is worth anything.

    :raises CompressError: Naming the training, the loss and what to do.
    """
    if not math.isfinite(loss):
        raise CompressError(f"{title}: the loss is {loss:g} {where}; lower the training's learning_rate")


class TrainingCourse(TrainerCallback):
    """A checkpoint every so many steps and minutes and at an interruption, besides the one of each epoch; a log in each
    epoch, however short; and an end after some of the epochs, where that is asked for.

    Several processes save at the same steps, and end at once where they are interrupted.
    """

    def __init__(self, title: str, settings: Training, until: int | None = None):
        self._title, self._settings, self._until, self._has_logged = title, settings, until, False
        self._saved = time.monotonic()
        self._alone = process_count() == 1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._has_logged = False

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._has_logged |= "loss" in kwargs["logs"]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._alone:
            raise_if_interrupted()
        waited = time.monotonic() - self._saved
        late = self._alone and (is_interrupted() or waited > 60 * self._settings.checkpoint_minutes)
        if late or state.global_step % self._settings.checkpoint_steps == 0:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()
        if is_interrupted():
            say(f"{self._title}: step {state.global_step} of {state.max_steps} is saved")
        raise_if_interrupted()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise_if_interrupted()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_log = not self._has_logged
        if self._until is not None and round(state.epoch or 0) >= self._until:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        check_loss(
            self._title,
            kwargs["metrics"].get("eval_loss", 0.0),
            f"on the validation rows after step {state.global_step}",
        )
