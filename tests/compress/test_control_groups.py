"""Limits as containers and systemd set them."""

from pathlib import Path

import pytest

from compress import control_groups
from compress.control_groups import own_groups, processor_quota, usable_processors


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty tree, and a process in the group `/serving/model` of both versions."""
    membership = tmp_path / "membership"
    membership.write_text("4:cpu,cpuacct:/serving/model\n0::/serving/model\n")
    monkeypatch.setattr(control_groups, "_MEMBERSHIP", membership)
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "tree")
    monkeypatch.setattr(control_groups.os, "sched_getaffinity", lambda process: set(range(8)))
    return tmp_path / "tree"


def write(groups: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "quota", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5, 2),
        ({"cpu.max": "20000 100000\n"}, 0.2, 1),
        ({"cpu.max": "max 100000\n"}, None, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None, 8),
        ({"cpu.max": "1600000 100000\n"}, 16, 8),  # more than the affinity has
        ({}, None, 8),
    ],
)
def test_a_quota_is_read_in_both_versions(groups: Path, files: dict[str, str], quota: float | None, processors: int):
    write(groups, files)
    assert (processor_quota(), usable_processors()) == (quota, processors)


def test_the_tightest_limit_around_a_process_holds(groups: Path):
    write(
        groups, {"cpu.max": "max 100000", "serving/cpu.max": "200000 100000", "serving/model/cpu.max": "400000 100000"}
    )
    assert processor_quota() == 2
    assert own_groups("cpu") == [groups / "serving/model", groups / "serving", groups]


def test_a_group_that_the_host_alone_can_see_is_left_out(groups: Path):
    control_groups._MEMBERSHIP.write_text("0::/../elsewhere\n")
    write(groups, {"cpu.max": "200000 100000"})
    assert own_groups("cpu") == [groups]
