import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from bench.measure.memory import gpu_memory, peak_memory
from compress.subprocesses import module_environment


def test_the_peak_stays_when_memory_is_given_back():
    before = psutil.Process().memory_info().rss
    block = np.ones(50_000_000 // 8)
    del block
    assert peak_memory() >= before + 45e6


MAPPED_AND_READ = """
import sys
import numpy as np
from bench.measure.memory import needed_memory

used, unused = sys.argv[1:]
for mapped in (True, False):
    before = needed_memory(lambda: None)
    weights = np.memmap(used, np.uint8, "r") if mapped else np.fromfile(used, np.uint8)
    np.memmap(unused, np.uint8, "r").sum()
    print(needed_memory(weights.sum) - before)
    del weights
"""


def test_weights_that_are_mapped_need_what_weights_that_are_read_need(tmp_path: Path):
    """Of two files a run looks at one: of the mapped other one nothing is needed, though it was looked at."""
    for name in ("used", "unused"):
        (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(40_000_000))
    done = subprocess.run(
        [sys.executable, "-c", MAPPED_AND_READ, tmp_path / "used", tmp_path / "unused"],
        capture_output=True,
        text=True,
        check=True,
        env=module_environment(),
    )
    mapped, read = map(int, done.stdout.split())
    assert mapped == pytest.approx(read, rel=0.15)
    assert mapped == pytest.approx(40e6, rel=0.15)


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
