"""What the user sees of a training: one live line, and a plain line an epoch."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from rich.progress import TextColumn
from transformers.trainer_callback import TrainerCallback, TrainerState

from compress.console import progress, say
from compress.timing import rate

_ACCURACY = "eval_accuracy"


class Reporter(TrainerCallback):
    """Loss with its parts, rows a second, time left, and the validation accuracy of the weakest language."""

    def __init__(self, title: str, batch_size: int):
        self._title = title
        self._batch_size = batch_size
        self._progress = progress(TextColumn("{task.fields[told]}", markup=False))
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._weakest = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._started, self._first_step = time.monotonic(), state.global_step
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=state.max_steps, completed=state.global_step, told="")

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._progress.update(self._task, completed=state.global_step)

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        for name, value in (logs or {}).items():
            if name == "loss" or name.startswith("loss_"):
                self._losses[name].append(value)
        if self._losses:
            latest = {name: values[-1] for name, values in self._losses.items()}
            self._progress.update(self._task, told=f"{_told(latest)}, {self._speed(state)}{self._weakest}")

    def on_evaluate(
        self, args: Any, state: TrainerState, control: Any, metrics: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        metrics = metrics or {}
        losses = {name: sum(values) / len(values) for name, values in self._losses.items()}
        self._losses.clear()
        self._weakest = _weakest_language(metrics)
        accuracy = f", validation accuracy {metrics[_ACCURACY]:.3f}" if _ACCURACY in metrics else ""
        say(
            f"{self._title}: epoch {state.epoch:.0f} of {state.num_train_epochs}, {_told(losses)}, "
            f"{self._speed(state)}{accuracy}{self._weakest}"
        )

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self._progress.stop()

    def _speed(self, state: TrainerState) -> str:
        rows = (state.global_step - self._first_step) * self._batch_size
        return f"{rate(rows / max(time.monotonic() - self._started, 1e-9))} rows/s"


def _told(losses: dict[str, float]) -> str:
    parts = [f"{name.removeprefix('loss_')} {value:.3f}" for name, value in losses.items() if name != "loss"]
    return f"loss {losses['loss']:.3f}" + (f" ({', '.join(parts)})" if parts else "")


def _weakest_language(metrics: dict[str, float]) -> str:
    of_languages = {name.removeprefix(f"{_ACCURACY}_"): value for name, value in metrics.items()
                    if name.startswith(f"{_ACCURACY}_")}  # fmt: skip
    if len(of_languages) < 2:
        return ""
    language = min(of_languages, key=of_languages.__getitem__)
    return f", weakest {language} {of_languages[language]:.3f}"
