"""Memory of this process: what it needs, its resident peak, and what it holds on a GPU."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_CLEAR_REFERENCES = Path("/proc/self/clear_refs")


def needed_memory(run: Callable[[], object]) -> int:
    """Bytes that this process needs for a run: all that is its own, and the pages of files that the run touches.

    Resident memory alone would count weights that a runtime maps and those that it reads differently: of a mapped file
    every page that was ever looked at stays resident, though the system may take it back at any time.
    """
    with suppress(OSError):  # where it is not to be had, all pages that were ever touched count
        _CLEAR_REFERENCES.write_text("1")  # Linux, Documentation/filesystems/proc.rst: forget which were touched
    run()
    maps = psutil.Process().memory_maps(grouped=False)
    return sum(found.anonymous + min(found.referenced, found.rss - found.anonymous) for found in maps)


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
