"""How many tokens a model may read at once, where it is given so much memory and no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compress.data.batches import BATCH_TOKENS
from compress.errors import CompressError, UnavailableError
from compress.memory import give_back_memory, peak_memory_while, resident_memory
from compress.runtimes.contract import Predict
from compress.serving.format import Description
from compress.tasks.registry import task_named

_USED = 0.8  # of what is left for batches: batches of other shapes leave gaps in the runtime's memory
_MEGABYTE = 1e6


def check_can_be_bound(description: Description) -> None:
    """Refuse a bound on what it does not hold for.

    :raises CompressError: Naming the model and why.
    """
    why = None
    if task_named(description.task).GENERATES:
        why = "it writes, and what it remembers grows with that"
    elif description.reads == "text":
        why = "its tokenizer is in the graph, and nobody else knows its tokens"
    elif description.runtime not in ("ONNX Runtime", "OpenVINO") or description.target.startswith("cuda"):
        why = "it runs on a GPU"
    if why:
        raise CompressError(f"memory: {description.name} cannot be held to a bound: {why}; leave it out")


def batch_tokens_within(
    memory: int, description: Description, predict: Predict, inputs: Callable[[int], dict[str, np.ndarray]]
) -> int:
    """Tokens of a batch, padding included, with which the process of a model that is loaded stays within its memory.

    One row of the longest kind is run and what it takes is measured; a token of a shorter row takes less.

    :param memory: Bytes that the process may hold, libraries and model included.
    :param inputs: Makes a row of so many tokens, int64 (1, tokens) by name.
    :raises CompressError: If the model and one row do not fit; or this system does not tell.
    """
    row = inputs(description.max_length)
    give_back_memory()  # what loading has freed would hide what the run takes
    held = resident_memory()
    try:
        taken = max(1, peak_memory_while(lambda: predict(row)) - held)
    except UnavailableError as error:
        raise UnavailableError(f"memory: {error}; leave it out") from error
    tokens = int(_USED * (memory - held) / taken * description.max_length)
    if tokens < description.max_length:
        raise CompressError(
            f"memory={memory}: with {description.name} this process holds {held / _MEGABYTE:.0f} MB, and a row of "
            f"{description.max_length:,} tokens takes {taken / _MEGABYTE:.0f} MB more; give it at least "
            f"{(held + taken / _USED) / _MEGABYTE + 1:.0f}e6 bytes, or ask a smaller model"
        )
    return min(tokens, BATCH_TOKENS)
