"""The workflow in examples/: it is YAML, and its shell step turns the gate's exit codes into what CI is to do."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml

from compress.cli.app import app

WORKFLOW = Path(__file__).parents[1] / "examples/workflows/compress-check.yml"


@pytest.fixture(scope="module")
def steps() -> list[dict]:
    return yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]["check"]["steps"]


def test_the_workflow_uses_options_that_exist(steps: list[dict]):
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    used = re.findall(r"^ *compress (\w+) (.*)$", "\n".join(step.get("run", "") for step in steps), re.MULTILINE)
    assert {name for name, _ in used} == {"run", "check"}
    for name, line in used:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", line)) <= known


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_only_what_is_certain_stops_a_pull_request(steps: list[dict], tmp_path: Path, code: int, expected: int):
    script = next(step["run"] for step in steps if "compress check" in step.get("run", ""))
    stub = tmp_path / "bin/compress"
    stub.parent.mkdir()
    stub.write_text(f"#!/bin/sh\nexit {code}\n")
    stub.chmod(0o755)
    for folder in ("released/reviews", "artifacts/reviews/check"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "artifacts/reviews/check/check.md").write_text("the table\n")
    environment = {**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}", "RUN": "reviews"}
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={**environment, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected
    assert (tmp_path / "summary.md").read_text() == "the table\n"
    assert ("::warning::" in done.stdout) == (code == 3)
