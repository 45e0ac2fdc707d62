import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bench.measure.memory import gpu_memory, peak_memory, resident_memory


def test_the_peak_stays_when_memory_is_given_back():
    before = resident_memory()
    block = np.ones(50_000_000 // 8)
    assert resident_memory() >= before + 45e6
    del block
    assert peak_memory() >= before + 45e6


def test_without_a_driver_there_is_no_gpu_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_memory() is None


def test_gpu_memory_is_what_this_process_holds_on_all_gpus(monkeypatch: pytest.MonkeyPatch):
    """With a driver in NVML's place, as its documentation tells the calls; no GPU is claimed."""
    held = {0: [(os.getpid(), 100), (1, 7)], 1: [(os.getpid(), 50), (os.getpid(), None)]}
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(held),
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetComputeRunningProcesses=lambda device: [
            SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in held[device]
        ],
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert gpu_memory() == 150
