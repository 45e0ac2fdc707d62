import os
import subprocess
import sys
from pathlib import Path

import pytest

from compress import control_groups
from compress.threads import bound_threads, may_spin, pool_size

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


@pytest.fixture
def under_a_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Four of 64 processors."""
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    (tmp_path / "cpu.max").write_text("400000 100000\n")


def test_libraries_start_no_more_threads_than_the_limit_allows(under_a_quota: None, monkeypatch: pytest.MonkeyPatch):
    for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what is set meanwhile is forgotten afterwards
        monkeypatch.delenv(name)
    bound_threads()
    assert [os.environ[name] for name in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")] == ["4", "0", "0"]


def test_a_pool_is_as_large_as_a_quota_and_does_not_spin(under_a_quota: None):
    assert (pool_size(None), pool_size(2), may_spin()) == (4, 2, False)


def test_a_pool_is_as_large_as_the_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 4, 9})
    assert (pool_size(None), may_spin()) == (3, True)


def test_where_nothing_is_limited_runtimes_choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert pool_size(None) == 0
