"""Killed at any moment, or divided among processes, a run ends with the weights of an undisturbed one."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import yaml
from safetensors.numpy import load_file

from compress.contract import Contract
from compress.errors import CompressError
from compress.recipe.recipe import Recipe
from compress.runs import stages
from compress.runs.directory import open_run
from compress.runs.files import file_sha256
from compress.runs.manifest import Stage
from compress.runs.stages import run_stage

MOMENTS = 5


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_recipe: dict) -> Path:
    for part in ("teacher", "student"):
        tiny_recipe = {
            **tiny_recipe,
            part: {**tiny_recipe[part], "training": {**tiny_recipe[part]["training"], "checkpoint_steps": 7}},
        }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe))
    return path


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    recipe_file: Path, finished_run: Path, compress_command
):
    output = recipe_file.parent / "out"
    command = ("distill", str(recipe_file), "--output", str(output))
    finished = json.loads((finished_run / "manifest.json").read_text())["stages"]
    longest = 0.3 * sum(finished[stage]["seconds"] for stage in ("data", "teacher", "cache", "student", "evaluation"))
    generator = random.Random(0)
    killed = 0
    while not killed:  # the machine had less to give when the finished run was made: sooner, then
        shutil.rmtree(output, ignore_errors=True)
        for _ in range(MOMENTS):
            ended = forked.run_command(*command, killed_after=generator.uniform(longest / 6, longest)).returncode
            killed += ended == -signal.SIGKILL
        longest /= 4
    done = compress_command(*command)
    assert done.returncode == 0, done.stderr
    for model in ("teacher", "student"):
        ours, theirs = (run / model / "model.safetensors" for run in (output / "tiny", finished_run))
        assert file_sha256(ours) == file_sha256(theirs), model


@pytest.mark.parametrize("moment", ["before the record", "while folders are exchanged"])
def test_a_kill_while_a_stage_is_put_in_place_is_mended(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a kill at the worst moments leaves behind, made by hand."""
    run, stage = open_run(Recipe(name="killed"), tmp_path), Stage("one", Contract)

    def build(folder: Path, scratch: Path) -> Contract:
        (folder / "file.txt").write_text("new")
        return Contract()

    run_stage(run, stage, {"version": 1}, (), build)
    with monkeypatch.context() as patch:
        if moment == "before the record":
            patch.setattr(stages, "_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        else:
            patch.setattr(
                stages,
                "_entry",
                lambda *_: (
                    (run.folder / "one").rename(run.folder / ".work/one/old")
                    and (_ for _ in ()).throw(KeyboardInterrupt)
                ),
            )
        with pytest.raises(KeyboardInterrupt):
            run_stage(run, stage, {"version": 2}, (), build)
    with pytest.raises(CompressError, match="stage 'one' is missing"):  # and not what the old record says
        run.path_of("one")
    run_stage(run, stage, {"version": 2}, (), build)
    assert (run.folder / "one/file.txt").read_text() == "new"
    assert not (run.folder / ".work/one").exists()


def test_two_processes_have_the_losses_of_one(recipe_file: Path, finished_run: Path):
    """The same global batch, divided among two processes that exchange gradients over gloo."""
    output = recipe_file.parent / "out"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511",
         "-m", "compress", "distill", str(recipe_file), "--output", str(output), "--json"],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["student"]["shape"] == "2x32"
    told = [re.findall(r"(teacher|student): epoch (\d) of 3, loss ([\d.]+)", text) for text in
            (done.stderr, (finished_run.parents[1] / "stderr.txt").read_text())]  # fmt: skip
    assert len(told[0]) == 6
    for ours, theirs in zip(*told, strict=True):
        assert ours[:2] == theirs[:2]
        assert float(ours[2]) == pytest.approx(float(theirs[2]), abs=0.005)
    for model in ("teacher", "student"):
        weights = [load_file(run / model / "model.safetensors") for run in (output / "tiny", finished_run)]
        for name, ours in weights[0].items():
            assert ours == pytest.approx(weights[1][name], abs=0.02), name


def test_a_batch_that_cannot_be_divided_is_said(recipe_file: Path, compress_command):
    done = compress_command(
        "distill", recipe_file, "--output", recipe_file.parent / "out",
        "--set", "teacher.training.gradient_accumulation=5",
    )  # fmt: skip
    assert done.returncode == 2
    assert "training.batch_size: 32 rows cannot be divided among 1 processes and 5 parts; use a multiple of 5" in (
        done.stderr
    )
