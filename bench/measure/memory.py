"""Memory of this process: resident, its peak, and what it holds on a GPU."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import psutil


def resident_memory() -> int:
    """Resident memory of this process now, in bytes."""
    resident: int = psutil.Process().memory_info().rss
    return resident


def peak_memory() -> int:
    """Largest resident memory of this program so far, in bytes.

    Linux counts the parent's memory at the fork into ``ru_maxrss``, so the process's own mark is read if there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def gpu_memory() -> int | None:
    """Bytes that this process holds on all GPUs, as NVIDIA's driver (NVML) tells; none without one, or untold."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # neither the module nor the driver need be there
        return None
    held = None
    for number in range(pynvml.nvmlDeviceGetCount()):
        device = pynvml.nvmlDeviceGetHandleByIndex(number)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device):
            if process.pid == os.getpid() and process.usedGpuMemory is not None:
                held = (held or 0) + process.usedGpuMemory
    return held
