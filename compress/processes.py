"""The processes of one run, where `torchrun` or `accelerate launch` started several."""

from __future__ import annotations

import os
from datetime import timedelta

_LONGEST_WAIT = timedelta(days=7)  # for the others, while one of them works on a stage


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
