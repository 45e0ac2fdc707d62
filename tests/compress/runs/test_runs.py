import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_a_file_that_was_altered_is_never_read_as_what_was_made(run: Run):
    stage(run, "one", "a")
    file = run.folder / "one/file.txt"
    before = file.stat()
    file.write_text("b")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    for reading in (run.path_of, run.digest):
        with pytest.raises(
            CompressError, match=r"one/file\.txt was altered after the stage was finished; run the command"
        ):
            reading("one")
    assert stage(run, "one", "a") == ["one"]
    assert run.path_of("one").joinpath("file.txt").read_text() == "a"


def test_a_file_that_was_added_is_said(run: Run):
    stage(run, "one", "a")
    (run.folder / "one/.desktop").touch()
    assert run.path_of("one")
    (run.folder / "one/more.engine").touch()
    with pytest.raises(CompressError, match=r"one/more\.engine was added after the stage was finished"):
        run.path_of("one")


def test_a_stage_that_read_its_rows_another_way_is_outdated(run: Run):
    run_stage(run, Stage("one", Note), run.tokenisation, (), lambda *_: Note(content=""))
    stage(run, "two", "x", ("one",))
    assert run.is_current("two")
    other = find_run(run.folder, run.folder.parent, {"data.max_length": 16})
    assert other.outdated("two") == "stage 'one' was made with max_length 64, the recipe says 16"
    with pytest.raises(CompressError, match="the recipe says 16; run `compress distill` again"):
        other.current("two")


def test_a_stage_of_an_earlier_parent_is_outdated(run: Run):
    stage(run, "one", "a")
    stage(run, "two", "x", ("one",))
    stage(run, "one", "b")
    assert run.outdated("two") == "stage 'two' was made from another 'one'"
    assert run.outdated("three") == "stage 'three' is missing"


def test_a_recipe_that_does_not_go_together_with_what_was_made_is_refused(run: Run):
    def build(folder: Path, scratch: Path) -> Note:
        return Note(content="")

    run_stage(run, Stage("teacher", Note), {"model": None}, (), build)
    taught = {"teacher.model": "some/model", "teacher.token": "TOKEN", "teacher.code_revision": "main"}
    found = find_run(run.folder, run.folder.parent, taught)
    message = "manifest.json: what teacher was made with and what the recipe says of it do not go together .+ is of a "
    with pytest.raises(CompressError, match=message):
        found.as_made  # noqa: B018 - a property


def test_files_have_the_mode_that_the_user_s_umask_leaves(run: Run):
    def build(folder: Path, scratch: Path) -> Note:
        (folder / "inner").mkdir()
        (folder / "inner/secret.bin").touch(0o600)
        return Note(content="")

    umask = os.umask(0o027)
    try:
        run_stage(run, Stage("one", Note), {}, (), build)
    finally:
        os.umask(umask)
    assert (run.folder / "one/inner/secret.bin").stat().st_mode & 0o777 == 0o640


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


DAMAGED = ("", "[]", "null", "{}", "[" * 100_000, '{"schema": 4}', '{"schema": 4, "run": 1, "stages": {}}')


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_manifest_is_said(run: Run, content: str):
    (run.folder / "manifest.json").write_text(content)
    with pytest.raises(CompressError, match=r"damaged manifest; delete the run directory and start again"):
        run.path_of("one")


def places(content: object) -> Iterator[tuple[str | int, ...]]:
    """Where values stand in JSON, from the outside in."""
    yield ()
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inside:
        yield from ((name, *rest) for rest in places(value))


def test_a_manifest_that_is_damaged_anywhere_is_said_or_read_as_it_was(run: Run):
    stage(run, "one", "a")
    stage(run, "two", "b", ("one",))
    path = run.folder / "manifest.json"
    whole = path.read_text()
    for place in places(json.loads(whole)):
        for value in ([], None, {}, "text", 7):
            content = {"": json.loads(whole)}
            inner: Any = content
            *outer, last = ("", *place)
            for part in outer:
                inner = inner[part]
            inner[last] = value
            path.write_text(json.dumps(content[""]))
            try:
                run.outdated("two")
                run.summary(Stage("two", Note))
            except CompressError as error:
                assert str(run.folder) in str(error)  # noqa: PT017 - some values are as good as the right one


def test_a_manifest_is_a_file_of_reasonable_size(run: Run):
    path = run.folder / "manifest.json"
    with path.open("wb") as file:
        file.truncate(30_000_000_000)  # a hole
    with pytest.raises(CompressError, match=r"manifest\.json: 30,000,000,000 bytes, where .* are the most"):
        run.path_of("one")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CompressError, match=r"manifest\.json: not a file but a folder, a pipe or a device"):
        run.path_of("one")


def test_a_manifest_of_another_version_is_said(run: Run):
    (run.folder / "manifest.json").write_text('{"schema": 2}')
    with pytest.raises(CompressError, match=r"written by another version \(schema 2, this one has 4\)"):
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
