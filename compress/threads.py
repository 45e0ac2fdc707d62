"""How the threads of native libraries share the machine; set before those libraries load."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def bound_threads() -> None:
    """Keep OpenMP's threads from spinning without end, and from being more than a container may run.

    A thread that waits for the next piece of work spins; beside another process with threads of its own that takes the
    processors from those who work: a training that makes 150 steps a second alone makes 3. What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # of GNU's OpenMP; the default is about 300,000
        os.environ.setdefault("KMP_BLOCKTIME", "1")  # of LLVM's and Intel's, in milliseconds; the default is 200
    quota = processor_quota()
    if quota is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(quota))


@cache
def processor_quota() -> int | None:
    """How many processors a container's limit leaves of those that it sees; none where it leaves all of them.

    Libraries count the processors that they see: with a limit on time they start threads that stop one another.
    """
    quota = _quota(_CONTROL_GROUPS)
    return quota if quota is not None and quota < len(os.sched_getaffinity(0)) else None


def _quota(folder: Path) -> int | None:
    """The limit of a control group, version 2 or 1, rounded up; none without one."""
    with suppress(FileNotFoundError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    with suppress(FileNotFoundError):
        quota, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return max(1, math.ceil(int(quota) / int(period))) if int(quota) > 0 else None
    return None
