"""Studies have what a command prints for machines, or end with it."""

from pathlib import Path

import pytest

from bench.studies.product import run_command


def test_what_a_command_prints_is_read_and_what_it_says_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    assert "abilities" in run_command("doctor", "--output", tmp_path, threads=1)
    with pytest.raises(SystemExit, match=r"^export --output .* ended with exit code 2$"):
        run_command("export", "--output", tmp_path)
    assert "no run here" in capfd.readouterr().err
