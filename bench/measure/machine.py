"""What machine is measured on, and which part of it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import psutil

from compress.machine import gpus, processor_name
from compress.reports.bench import MachineFacts


@dataclass(frozen=True)
class Machine:
    """The processors that models are measured on: each process is kept on these."""

    cpus: tuple[int, ...]

    @classmethod
    def with_threads(cls, threads: int | None) -> Machine:
        """The last processors that this process may use: the first ones serve most interrupts.

        :param threads: How many; none for all.
        """
        cpus = sorted(os.sched_getaffinity(0))
        return cls(tuple(cpus[-threads:] if threads else cpus))

    @property
    def threads(self) -> int:
        """How many of them there are."""
        return len(self.cpus)

    @property
    def facts(self) -> MachineFacts:
        """The machine around them, as reports tell it."""
        return MachineFacts(
            processor=processor_name(),
            system=platform.platform(),
            memory_bytes=psutil.virtual_memory().total,
            threads=self.threads,
            cpus=list(self.cpus),
            gpus=gpus(),
        )
