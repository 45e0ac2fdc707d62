"""What machine is measured on, and which part of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from compress.control_groups import processor_quota, usable_processors
from compress.machine import cpu_features, gpus
from compress.reports.bench import MachineFacts


def stolen_seconds(cpus: Sequence[int]) -> float:
    """How long other guests of the same host have had some processors, since this system started."""
    times = psutil.cpu_times(percpu=True)
    return sum(getattr(times[cpu], "steal", 0.0) for cpu in cpus if cpu < len(times))


@dataclass(frozen=True)
class Machine:
    """The processors that models are measured on: each process is kept on these."""

    cpus: tuple[int, ...]

    @classmethod
    def with_threads(cls, threads: int | None) -> Machine:
        """The last processors that this process may use: the first ones serve most interrupts.

        :param threads: How many; none for all, or as many as a container's limit leaves.
        """
        return cls(tuple(sorted(os.sched_getaffinity(0))[-(threads or usable_processors()) :]))

    @property
    def threads(self) -> int:
        """How many of them there are."""
        return len(self.cpus)

    @property
    def facts(self) -> MachineFacts:
        """The machine around them, as reports tell it."""
        return MachineFacts(
            processor=cpu_features().cpu_name,
            system=platform.platform(),
            memory_bytes=psutil.virtual_memory().total,
            threads=self.threads,
            cpus=list(self.cpus),
            quota=processor_quota(),
            gpus=gpus(),
        )
