import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress import threads

PRINT = (
    "from compress.threads import bound_threads; bound_threads(); import os;"
    "print(*(os.environ.get(name) for name in ('GOMP_SPINCOUNT', 'KMP_BLOCKTIME', 'OMP_WAIT_POLICY')))"
)


def bounded(**variables: str) -> list[str]:
    own = {"GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY"}
    environment = {name: value for name, value in os.environ.items() if name not in own} | variables
    return subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()


def test_threads_do_not_spin_without_end():
    assert bounded() == ["10000", "1", "None"]


def test_what_the_user_set_stays():
    assert bounded(GOMP_SPINCOUNT="5") == ["5", "1", "None"]
    assert bounded(OMP_WAIT_POLICY="ACTIVE") == ["None", "None", "ACTIVE"]


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_limit_is_read_in_both_versions(files: dict[str, str], processors: int | None, tmp_path: Path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == processors


def test_there_are_no_more_threads_than_the_limit_allows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(threads, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    monkeypatch.setenv("KMP_BLOCKTIME", "1")
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    threads.processor_quota.cache_clear()
    try:
        threads.bound_threads()
        assert os.environ["OMP_NUM_THREADS"] == "4"
    finally:
        threads.processor_quota.cache_clear()
