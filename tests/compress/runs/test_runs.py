import json
from pathlib import Path

import pytest

from compress.errors import CompressError
from compress.recipe.recipe import Recipe
from compress.runs.directory import Run, find_run, open_run
from compress.runs.files import file_sha256
from compress.runs.stages import run_stage


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(Recipe(name="first"), tmp_path)


def stage(run: Run, name: str, content: str, parents: tuple[str, ...] = (), **options) -> list[str]:
    """Run a stage that writes one file; tell whether it was run."""
    calls = []

    def build(folder: Path, scratch: Path) -> dict:
        calls.append(name)
        (folder / "file.txt").write_text(content)
        return {"content": content}

    run_stage(run, name, {"content": content}, parents, build, **options)
    return calls


def test_a_stage_whose_inputs_did_not_change_is_skipped(run: Run):
    assert stage(run, "one", "a") == ["one"]
    assert stage(run, "one", "a") == []
    assert stage(run, "one", "b") == ["one"]
    assert stage(run, "one", "b", always=True) == ["one"]
    assert (run.folder / "one/file.txt").read_text() == "b"


def test_a_stage_follows_the_contents_of_its_parents(run: Run):
    stage(run, "one", "a")
    assert stage(run, "two", "x", ("one",)) == ["two"]
    stage(run, "one", "b")
    assert stage(run, "two", "x", ("one",)) == ["two"]


def test_a_stage_with_a_lost_file_is_run_again(run: Run):
    stage(run, "one", "a")
    (run.folder / "one/file.txt").unlink()
    assert stage(run, "one", "a") == ["one"]


def test_the_manifest_describes_every_file(run: Run):
    stage(run, "one", "a")
    entry = json.loads((run.folder / "manifest.json").read_text())["stages"]["one"]
    (file,) = entry["files"]
    assert file["path"] == "one/file.txt"
    assert file["bytes"] == 1
    assert file["sha256"] == file_sha256(run.folder / "one/file.txt")
    assert {"python", "torch", "transformers"} <= entry["versions"].keys()


def test_a_failed_stage_leaves_the_old_one_and_keeps_its_scratch(run: Run):
    stage(run, "one", "a")

    def fail(folder: Path, scratch: Path) -> dict:
        (folder / "half.txt").write_text("half")
        (scratch / "checkpoint").write_text("1")
        raise KeyboardInterrupt

    def go_on(folder: Path, scratch: Path) -> dict:
        assert not list(folder.iterdir())
        return {"checkpoint": (scratch / "checkpoint").read_text()}

    with pytest.raises(KeyboardInterrupt):
        run_stage(run, "one", {"new": True}, (), fail)
    assert [path.name for path in (run.folder / "one").iterdir()] == ["file.txt"]
    assert run_stage(run, "one", {"new": True}, (), go_on) == {"checkpoint": "1"}


def test_latest_names_the_newest_run(tmp_path: Path, run: Run):
    second = open_run(Recipe(name="second"), tmp_path)
    assert find_run(None, tmp_path).folder == second.folder.resolve()
    assert find_run(run.folder, tmp_path).recipe.name == "first"
    with pytest.raises(CompressError, match=r"no run here; run `compress distill` first"):
        find_run(None, tmp_path / "empty")


def test_a_missing_stage_says_what_to_run(run: Run):
    with pytest.raises(CompressError, match=r"stage 'student' is missing; run `compress distill` first"):
        run.path_of("student")


def test_an_output_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CompressError, match=r"cannot be written .*; choose another --output"):
        open_run(Recipe(), tmp_path / "file")


def test_two_processes_do_not_work_in_one_run(run: Run):
    def nested(folder: Path, scratch: Path) -> dict:
        stage(run, "two", "x")
        return {}

    with pytest.raises(CompressError, match=r"another compress is working in this run"):
        run_stage(run, "one", {}, (), nested)
