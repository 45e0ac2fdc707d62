from pathlib import Path

import pytest

from compress.machine import gpus


def test_without_a_driver_there_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []


@pytest.mark.parametrize(("exit_code", "found"), [(0, ["NVIDIA L4, 8.9, 23034 MiB"]), (9, [])])
def test_gpus_are_those_that_the_driver_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exit_code: int, found: list[str]
):
    """With a program in the driver's place; no GPU is claimed."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'NVIDIA L4, 8.9, 23034 MiB'\nexit {exit_code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == found
