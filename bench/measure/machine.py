"""What machine was measured on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil

from bench.measure.workers import Machine
from compress.cli.doctor import gpus


def machine_facts(machine: Machine) -> dict[str, Any]:
    """What this machine is, and which part of it was measured on."""
    return {
        "processor": _processor(),
        "system": platform.platform(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": machine.threads,
        "cpus": list(machine.cpus),
        "gpus": gpus(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
