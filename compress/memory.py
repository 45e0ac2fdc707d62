"""How much memory there is to be had: of the machine, and what a container's limit leaves of it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from compress.control_groups import own_groups
from compress.errors import CompressError, UnavailableError

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_PEAK = "5"
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of control groups, version 2 and 1: the limit, what is used of it, and the entry of ``memory.stat`` that tells what
of that can be given up."""


def free_memory() -> int:
    """Bytes that a process can still have before the system ends one: swap counts, and a container's limit."""
    free: int = psutil.virtual_memory().available + psutil.swap_memory().free
    limits = [left for folder in own_groups("memory") if (left := _left_in(folder)) is not None]
    return min([free, *limits])


def check_memory(what: str, needed: float, mend: str) -> None:
    """Refuse what the memory that is free cannot hold, before the system ends the process that tries.

    :param needed: Bytes, at least.
    :param mend: What to do about it.
    :raises CompressError: Naming what is needed and what is free.
    """
    free = free_memory()
    if needed > free:
        raise CompressError(f"{what} at least {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; {mend}")


def resident_memory() -> int:
    """Bytes of memory that this process holds."""
    held: int = psutil.Process().memory_info().rss
    return held


def peak_memory_while(run: Callable[[], object]) -> int:
    """The largest resident memory of this process while something runs, in bytes.

    Linux, Documentation/filesystems/proc.rst: ``VmHWM``, which ``clear_refs`` sets back.

    :raises UnavailableError: If this system does not tell.
    """
    try:
        _REFERENCES.write_text(_FORGET_PEAK)
        run()
        line = next(line for line in _STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration) as error:
        raise UnavailableError("this system does not tell how much memory a run takes") from error
    return 1024 * int(line.split()[1])


def give_back_memory() -> None:
    """Return to the system what is no longer used: the C library keeps what is freed, gigabytes where models were."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _left_in(folder: Path) -> int | None:
    """What the limit of a control group leaves, without the files that the system may forget; none without a limit."""
    for limit, used, forgettable in _FILES:
        with suppress(FileNotFoundError):
            most = (folder / limit).read_text("ascii").strip()
            if most == "max":
                return None
            lines = (folder / "memory.stat").read_text("ascii").splitlines()
            counts = {name: int(count) for name, count in (line.split() for line in lines)}
            return max(0, int(most) - int((folder / used).read_text("ascii")) + counts.get(forgettable, 0))
    return None
