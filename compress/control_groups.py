"""What a container, or a unit of systemd, may take: Linux' control groups, version 2 and 1."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def own_groups(controller: str) -> list[Path]:
    """Folders of the groups that this process is in, each inside of the next: every one may have a limit.

    In a container the outermost one is its own, whatever path the host knows it by.

    :param controller: ``cpu`` or ``memory``.
    """
    found: list[Path] = []
    with suppress(FileNotFoundError):  # not Linux
        for line in _MEMBERSHIP.read_text("utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or controller in controllers.split(","):
                top = _ROOT if number == "0" else _ROOT / controller  # version 2 has one tree, version 1 one each
                inner = PurePosixPath(path.lstrip("/"))
                parts = () if ".." in inner.parts else (inner, *inner.parents)
                found += [top / part for part in parts if part.parts] + [top]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def processor_quota() -> float | None:
    """How many processors' time the tightest limit grants, 1.5 say; none without a limit."""
    quotas = [quota for folder in own_groups("cpu") if (quota := _quota_in(folder)) is not None]
    return min(quotas, default=None)


def usable_processors() -> int:
    """Processors that this process may use: those of its affinity, or as many as a quota grants, rounded up."""
    own, quota = usable_by_affinity(), processor_quota()
    return own if quota is None else max(1, min(own, math.ceil(quota)))


def quota_stops(threads: int) -> bool:
    """Whether there is a quota that so many threads use up, and are stopped by."""
    quota = processor_quota()
    return quota is not None and quota < threads


def usable_by_affinity() -> int:
    """Processors that this process may be run on, whatever a quota grants."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quota_in(folder: Path) -> float | None:
    with suppress(FileNotFoundError):
        quota, period = (folder / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(FileNotFoundError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text("ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
