"""Where a model from elsewhere lies: a folder, or one commit of the hub, as its client keeps it."""

from pathlib import Path

import cached_hub
import pytest
from huggingface_hub import constants

from compress.errors import CompressError
from compress.models.source import Source, fetch
from compress.recipe.file import load_recipe
from compress.recipe.teacher import Teacher


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which is not reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def model(root: Path, name: str) -> Path:
    (root / name / "onnx").mkdir(parents=True)
    (root / name / "config.json").write_text(f'{{"name": "{name}"}}')
    (root / name / "onnx" / "config.json").write_text("{}")
    return root / name


def test_a_hub_id_is_the_commit_that_its_branch_points_to(tmp_path: Path, cache: Path):
    first = cached_hub.keep(model(tmp_path, "one"), cache, "org/pinned")
    tagged = cached_hub.keep(model(tmp_path, "two"), cache, "org/pinned", "v2")
    found = fetch(Teacher(model="org/pinned"))
    assert found == Source("org/pinned", cache / "models--org--pinned" / "snapshots" / first, first)
    assert (str(found), found.revision) == ("org/pinned", first)
    assert fetch(Teacher(model="org/pinned", revision="v2")).revision == tagged
    assert fetch(Teacher(model="org/pinned", revision=tagged)).revision == tagged
    below = fetch(Teacher(model="org/pinned", subfolder="onnx"))
    assert (below.name, below.folder) == ("org/pinned/onnx", found.folder / "onnx")


def test_a_branch_that_moves_is_looked_up_once(tmp_path: Path, cache: Path):
    first = cached_hub.keep(model(tmp_path, "one"), cache, "org/moving")
    assert fetch(Teacher(model="org/moving")).revision == first
    cached_hub.keep(model(tmp_path, "two"), cache, "org/moving")
    assert fetch(Teacher(model="org/moving", fine_tune=False)).revision == first


def test_a_folder_has_no_revision(tmp_path: Path):
    folder = model(tmp_path, "one")
    assert fetch(Teacher(model=str(folder))) == Source(str(folder), folder)
    assert fetch(Teacher(model=str(folder), subfolder="onnx")).folder == folder / "onnx"
    with pytest.raises(CompressError, match=r"teacher.revision: .*one is a folder, of which there is one only; leave"):
        fetch(Teacher(model=str(folder), revision="main"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "./nowhere/at/all"},
            "teacher.model: no folder ./nowhere/at/all, and no name that the hub's models h",
        ),
        ({"model": "org/absent"}, "teacher.model: no folder org/absent, and the hub does not give it ("),
        ({"model": "org/there", "revision": "v9"}, "teacher.model: no folder org/there, and the hub does not give it"),
        ({"model": "org/there", "subfolder": "x"}, "teacher.subfolder: org/there has no folder 'x'; name one that it"),
        (
            {"model": "org/there", "token": "ABSENT_TOKEN"},
            "teacher.token: the environment variable ABSENT_TOKEN is not",
        ),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, cache: Path, settings: dict[str, str], message: str):
    cached_hub.keep(model(tmp_path, "one"), cache, "org/there")
    with pytest.raises(CompressError) as refused:
        fetch(Teacher.model_validate(settings))
    assert str(refused.value).startswith(message)


def test_the_hub_is_shown_what_the_variable_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    shown = []
    monkeypatch.setenv("TOKEN_OF_OURS", "hf_secret")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, token, **__: shown.append(token) or tmp_path)
    for token in ("TOKEN_OF_OURS", True, None):
        fetch(Teacher(model="org/private", token=token))
    assert shown == ["hf_secret", True, None]


@pytest.mark.parametrize("token", ["hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789", False, 7, {"a": "hf_aBcDeF"}])
def test_a_token_itself_is_refused_and_not_repeated(token: object):
    with pytest.raises(
        CompressError, match=r"^recipe: teacher.token: must be the name of an .*; not the token$"
    ) as told:
        load_recipe(None, {"teacher.model": "org/private", "teacher.token": token})
    assert told.value.__cause__ is None
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dtype": "float16", "model": "a"},
            "dtype float16 is for a model that is taken as it is; set fine_tune: false",
        ),
        (
            {"dtype": "float16", "model": "a", "fine_tune": False},
            "teacher.dtype is for the teacher of a student; what is exported as it is begins in float32",
        ),
        ({"revision": "main"}, "revision is of a model; name it in teacher.model, or leave it out"),
    ],
)
def test_what_has_no_meaning_is_refused(fields: dict[str, str], message: str):
    with pytest.raises(CompressError, match=message):
        load_recipe(None, {"student.kind": "as-is", **{f"teacher.{name}": value for name, value in fields.items()}})
