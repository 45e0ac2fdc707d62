"""A small but whole run, made once: every stage with real code on a part of the built-in data."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import forked
import pytest
import tiny_runs
import yaml
from filelock import FileLock

os.environ["HF_HUB_OFFLINE"] = "1"
_WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if (
    _WORKER
):  # processes that share the tests share the processors too: what one of them times, the other does not disturb
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    _every = sorted(os.sched_getaffinity(0))
    _own = _every[int(_WORKER.removeprefix("gw")) :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]
    os.sched_setaffinity(0, _own or _every)
    assert "torch" not in sys.modules, (
        "it would have as many threads as there are processors, all on this process's own"
    )

LONGEST = (
    "tests/test_tasks.py",
    "tests/compress/recipe/test_effects.py",
    "tests/fuzz/test_fuzz.py",
    "tests/bench/studies/test_ablation.py",
    "tests/bench/fit/test_stage.py",
    "tests/export/bundle/trust/test_verify.py",
    "tests/test_vector_students.py",
    "tests/test_reranking.py",
    "tests/test_static.py",
    "tests/test_vectors.py",
    "tests/test_several_labels.py",
    "tests/test_numbers.py",
    "tests/test_as_is.py",
    "tests/test_own_code.py",
)
"""Files that take minutes: begun first, so that no process is left alone with one at the end."""

LANGUAGES = ("de", "en", "ja")
KINDS = ("date", "time", "percentage", "money")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {path: place for place, path in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """What the test modules have imported stays: no stage of a run looks through it for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON Lines files with four easy labels in three languages."""
    from compress.data.builtin import cldr

    folder = tmp_path_factory.mktemp("data")
    for split, rows in cldr.generate(0).items():
        kept = [row for row in rows if row["lang"] in LANGUAGES and row["label"] in KINDS]
        lines = [json.dumps(row, ensure_ascii=False) for row in kept]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(data_folder: Path) -> dict:
    """A recipe that runs in seconds."""
    recipe = tiny_runs.tiny_recipe(data_folder)
    recipe["student"]["distillation"] = {"hidden": {"weight": 0.1}}
    return recipe


@pytest.fixture(scope="session")
def compress_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return forked.run_command(*map(str, arguments), cwd=cwd)

    return run


@pytest.fixture(scope="session", autouse=True)
def forked_processes() -> Iterator[None]:
    """What is tried or measured in a process of its own is so in one that is soon there; not in `finished_run`."""
    with pytest.MonkeyPatch.context() as patch:
        for place, stand_in in forked.STAND_INS.items():
            patch.setattr(place, stand_in)
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: dict) -> Path:
    """The directory of a run in which every stage has been run, engine included: a copy of one's own."""

    def run(folder: Path) -> None:
        recipe = folder / "tiny.yaml"
        recipe.write_text(yaml.safe_dump(tiny_recipe), "utf-8")
        words = [sys.executable, "-m", "compress", "run", recipe, "--trt", "--output", folder / "artifacts", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "stdout.json").write_text(done.stdout, "utf-8")
        (folder / "stderr.txt").write_text(done.stderr, "utf-8")

    root = tmp_path_factory.mktemp("runs") / "own"
    shutil.copytree(_made_once(tmp_path_factory, "finished", run), root, symlinks=True)
    return root / "artifacts" / "tiny"


@pytest.fixture(scope="session")
def exported_translator(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder with the plain graphs of one of `small_translators.CONFIGS`, for reading."""
    import small_translators

    def exported(name: str) -> Path:
        return _made_once(tmp_path_factory, f"translator-{name}", partial(small_translators.write_exported, name))

    return exported


def _made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first fills who wants it: where several processes share the tests, one of them for all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if _WORKER else base) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            filling = folder.with_name(f"{name}.filling")
            shutil.rmtree(filling, ignore_errors=True)
            filling.mkdir()
            make(filling)
            filling.rename(folder)
    return folder
