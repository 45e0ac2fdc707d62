import json
from pathlib import Path

import pytest

from compress.contract import Contract
from compress.errors import CompressError
from compress.recipe.recipe import Recipe
from compress.runs.directory import Run, find_run, keep_recipe, locked, open_run
from compress.runs.files import file_sha256
from compress.runs.manifest import Stage
from compress.runs.stages import run_stage


class Note(Contract):
    """What the stages of these tests return."""

    content: str


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(Recipe(name="first"), tmp_path)


def stage(run: Run, name: str, content: str, parents: tuple[str, ...] = (), **options) -> list[str]:
    """Run a stage that writes one file; tell whether it was run."""
    calls = []

    def build(folder: Path, scratch: Path) -> Note:
        calls.append(name)
        (folder / "file.txt").write_text(content)
        return Note(content=content)

    run_stage(run, Stage(name, Note), {"content": content}, parents, build, **options)
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

    def fail(folder: Path, scratch: Path) -> Note:
        (folder / "half.txt").write_text("half")
        (scratch / "checkpoint").write_text("1")
        raise KeyboardInterrupt

    def go_on(folder: Path, scratch: Path) -> Note:
        assert not list(folder.iterdir())
        return Note(content=(scratch / "checkpoint").read_text())

    with pytest.raises(KeyboardInterrupt):
        run_stage(run, Stage("one", Note), {"new": True}, (), fail)
    assert [path.name for path in (run.folder / "one").iterdir()] == ["file.txt"]
    assert run_stage(run, Stage("one", Note), {"new": True}, (), go_on) == Note(content="1")


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
    def nested(folder: Path, scratch: Path) -> Note:
        stage(run, "two", "x")
        return Note(content="")

    with pytest.raises(CompressError, match=r"another compress is working in this run"):
        run_stage(run, Stage("one", Note), {}, (), nested)


def test_what_a_stage_returned_is_read_back_as_its_model(run: Run):
    stage(run, "one", "a")
    assert run.summary(Stage("one", Note)) == Note(content="a")

    class Other(Contract):
        number: int

    with pytest.raises(CompressError, match=r"what it says of 'one' is not as this version writes it"):
        run.summary(Stage("one", Other))


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"schema": 3}', '{"schema": 3, "run": 1, "stages": {}}'])
def test_a_damaged_manifest_is_said(run: Run, content: str):
    (run.folder / "manifest.json").write_text(content)
    with pytest.raises(CompressError, match=r"damaged manifest; delete the run directory and start again"):
        run.path_of("one")


def test_a_manifest_of_another_version_is_said(run: Run):
    (run.folder / "manifest.json").write_text('{"schema": 2}')
    with pytest.raises(CompressError, match=r"written by another version \(schema 2, this one has 3\)"):
        run.path_of("one")


def test_overrides_hold_until_they_are_kept(run: Run):
    changed = find_run(run.folder, run.folder.parent, {"bench.rows": 7})
    assert (changed.recipe.bench.rows, changed.overrides) == (7, {"bench.rows": 7})
    assert find_run(run.folder, run.folder.parent).recipe == run.recipe
    keep_recipe(changed)
    assert find_run(run.folder, run.folder.parent).recipe.bench.rows == 7


def test_a_recipe_is_not_changed_beside_other_work(run: Run):
    changed = find_run(run.folder, run.folder.parent, {"bench.rows": 7})
    with locked(run.folder), pytest.raises(CompressError, match=r"another compress is working in this run"):
        keep_recipe(changed)
    assert find_run(run.folder, run.folder.parent).recipe == run.recipe


def test_a_run_that_is_there_keeps_its_recipe_until_another_proves_good(run: Run):
    other = open_run(Recipe(name="first", seed=1), run.folder.parent)
    assert find_run(run.folder, run.folder.parent).recipe.seed == 0
    keep_recipe(other)
    assert find_run(run.folder, run.folder.parent).recipe.seed == 1


def test_overrides_are_kept_on_top_of_what_others_have_changed_meanwhile(run: Run):
    one, two = (find_run(run.folder, run.folder.parent, {field: 7}) for field in ("bench.rows", "bench.rounds"))
    keep_recipe(one)
    keep_recipe(two)
    kept = find_run(run.folder, run.folder.parent).recipe.bench
    assert (kept.rows, kept.rounds) == (7, 7)


def test_a_run_of_another_version_is_not_touched(run: Run):
    (run.folder / "manifest.json").write_text('{"schema": 2}')
    (run.folder / "recipe.yaml").write_text("evaluation: {yardstick: true}")
    for reached in (
        lambda: open_run(Recipe(name="first"), run.folder.parent),
        lambda: find_run(run.folder, run.folder),
    ):
        with pytest.raises(CompressError, match=r"written by another version"):
            reached()
    assert (run.folder / "recipe.yaml").read_text() == "evaluation: {yardstick: true}"
