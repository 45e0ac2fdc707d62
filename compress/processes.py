"""The processes of one run, where `torchrun` or `accelerate launch` started several."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

_LONGEST_WAIT = timedelta(days=7)  # for the others, while one of them works on a stage
_interrupted = False
_waits = False


def process_count() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this is the process that writes files and talks to the user."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_everyone() -> None:
    """Go on when all processes have come here."""
    if process_count() == 1:
        return
    import torch
    from accelerate import PartialState

    PartialState(cpu=not torch.cuda.is_available(), timeout=_LONGEST_WAIT).wait_for_everyone()


def remember_interrupts() -> None:
    """Keep Ctrl-C in mind: an exception that is raised inside of a library's clean-up can get lost there."""

    def remember(number: int, frame: object) -> None:
        global _interrupted
        again, _interrupted = _interrupted, True
        if again or not _waits:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let the first Ctrl-C raise nothing while the block runs, which asks `is_interrupted` and ends of itself; a second
    one does."""
    global _waits
    _waits = True
    try:
        yield
    finally:
        _waits = False
    raise_if_interrupted()


def is_interrupted() -> bool:
    """Whether there was a Ctrl-C."""
    return _interrupted


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if there was a Ctrl-C that got lost, or waits."""
    if _interrupted:
        raise KeyboardInterrupt
