"""How much memory a training takes at least, told before it starts: where the system is short of it, it ends processes
without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.data.encode import inputs_of, pad
from compress.errors import CompressError
from compress.memory import free_memory
from compress.recipe.training import Training
from compress.tasks.contract import Example, Task

_LENGTHS = (16, 32, 64)  # tokens: three numbers tell what grows with them, and with their square
_OF_THE_OPTIMIZER = 2  # numbers for each weight: Adam's two means; gradients come where kept values are given up


def check_training(
    title: str, model: PreTrainedModel, task: Task, longest: Example, settings: Training, processes: int
) -> None:
    """Refuse a training one step of which the free memory cannot hold; on a processor, as a GPU says so itself.

    What the forward pass keeps for the backward pass is measured on short rows, and reckoned for the longest.

    :param title: Of the training, for people.
    :param longest: The example with the most tokens.
    :param processes: That a step is divided among.
    :raises CompressError: Naming what is needed and free, and the parts of a step that memory holds, if there are such.
    """
    if torch.cuda.is_available():
        return
    tokens, free = len(longest["input_ids"]), free_memory()
    weights = _OF_THE_OPTIMIZER * sum(values.nbytes for values in model.parameters() if values.requires_grad)
    row = _kept_bytes(model, task, longest, tokens)
    rows = settings.batch_size // processes
    parts = [part for part in range(1, rows + 1) if rows % part == 0 and weights + rows // part * row <= free]
    if settings.gradient_accumulation >= min(parts, default=rows + 1):
        return
    step = rows // settings.gradient_accumulation
    needed = f"{(weights + step * row) / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free"
    accumulate = f"set its training.gradient_accumulation: {parts[0]}, which divides a step, or " if parts else ""
    raise CompressError(
        f"{title}: {step} rows of up to {tokens:,} tokens at once take at least {needed}; {accumulate}lower "
        "data.max_length, or take a smaller model"
    )


def _kept_bytes(model: PreTrainedModel, task: Task, example: Example, tokens: int) -> float:
    """What the forward pass over a row of so many tokens keeps for the backward pass."""
    lengths = sorted({min(length, tokens) for length in _LENGTHS})
    found = [_measured(model, task, _cut(example, length)) for length in lengths]
    return float(np.polyval(np.polyfit(lengths, found, len(lengths) - 1), tokens))


def _cut(example: Example, tokens: int) -> Example:
    """The same with fewer tokens; its last one, which may be a special one, stays."""
    wanted = {**inputs_of(example), "labels": example["labels"]}
    return {
        name: values if len(values) <= tokens else [*values[: tokens - 1], values[-1]]
        for name, values in wanted.items()
    }


def _measured(model: PreTrainedModel, task: Task, example: Example) -> int:
    weights = {values.untyped_storage().data_ptr() for values in model.parameters()}
    kept: dict[int, Any] = {}

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage  # none is given up meanwhile, whose place another would take
        return values

    inputs = {name: torch.from_numpy(array) for name, array in pad([example], 0).items()}
    was_training = model.training
    model.train()
    with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        outputs = model(**task.model_inputs(model.config, inputs, torch.tensor([example["labels"]])))
    model.train(was_training)
    del outputs
    return sum(storage.nbytes() for storage in kept.values())
