"""The run directory: one folder a stage, written atomically, and a manifest that says what made every file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress import __version__
from compress.console import say
from compress.errors import CompressError
from compress.processes import is_main_process, raise_if_interrupted, wait_for_everyone
from compress.recipe.file import load_recipe, save_recipe
from compress.recipe.recipe import Recipe
from compress.tasks.contract import Task, task_named

MANIFEST_SCHEMA = 2
_RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript",
                      "openvino", "babel", "tensorrt", "tensorrt-rtx-cu13-bindings")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run directory and the recipe it was made with."""

    folder: Path
    recipe: Recipe

    @property
    def task(self) -> Task:
        """What the run's models do."""
        return task_named(self.recipe.task)

    @property
    def tokenisation(self) -> dict[str, Any]:
        """The part of the recipe that decides, with a tokenizer, what models read of the rows."""
        data = self.recipe.data
        fields = {"max_length": data.max_length, "language_codes": data.language_codes, "prefix": data.prefix}
        return {"task": self.recipe.task, **fields}

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it is on disk."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return {"schema": MANIFEST_SCHEMA, "run": self.recipe.name, "stages": {}}
        try:
            content = json.loads(path.read_text("utf-8"))
        except ValueError:
            raise CompressError(f"{path}: damaged manifest; delete the run directory and start again") from None
        if content["schema"] != MANIFEST_SCHEMA:
            raise CompressError(
                f"{path}: written by another version (schema {content['schema']}, this one has {MANIFEST_SCHEMA}); "
                "delete the run directory and start again"
            )
        return content

    def path_of(self, stage: str) -> Path:
        """The folder of a finished stage.

        :raises CompressError: If the stage has not been run.
        """
        if stage not in self.manifest["stages"] or not (self.folder / stage).is_dir():
            raise CompressError(f"{self.folder}: stage '{stage}' is missing; run `compress distill` first")
        return self.folder / stage

    def is_current(self, stage: str) -> bool:
        """Whether a stage is finished and was made from what its parents hold now."""
        entry = self.manifest["stages"].get(stage)
        if entry is None or not (self.folder / stage).is_dir():
            return False
        return all(self.is_current(name) and self.digest(name) == digest for name, digest in entry["parents"].items())

    def digest(self, stage: str) -> str:
        """A hash over the contents of a finished stage's files."""
        self.path_of(stage)
        return self.manifest["stages"][stage]["digest"]


def open_run(recipe: Recipe, output: Path) -> Run:
    """Create the run directory of a recipe, or go on in the one that is there, and make it the latest run.

    :param output: Folder that holds all runs.
    :raises CompressError: If the folder cannot be written.
    """
    folder = output / recipe.name
    try:
        if is_main_process():
            _prepare(folder, recipe)
    except OSError as error:
        raise CompressError(f"{folder}: cannot be written ({error.strerror}); choose another --output") from None
    wait_for_everyone()
    return Run(folder, recipe)


def find_run(path: Path | None, output: Path, overrides: dict[str, Any] | None = None) -> Run:
    """The run that the user names by its folder, or the latest one; overrides are kept in its recipe.

    :raises CompressError: If there is none.
    """
    folder = path or output / "latest"
    if not (folder / "recipe.yaml").is_file():
        raise CompressError(f"{folder}: no run here; run `compress distill` first or name a run directory")
    recipe = load_recipe(folder / "recipe.yaml", overrides)
    if overrides:
        with _atomic_file(folder / "recipe.yaml") as partial:
            save_recipe(recipe, partial)
    return Run(folder.resolve(), recipe)


def run_stage(
    run: Run,
    stage: str,
    inputs: dict[str, Any],
    parents: tuple[str, ...],
    build: Callable[[Path, Path], dict[str, Any]],
    *,
    always: bool = False,
    parallel: bool = False,
) -> dict[str, Any]:
    """Run one stage, unless nothing that it depends on has changed since it was last run.

    :param inputs: The part of the recipe that the stage depends on, as JSON values.
    :param parents: Stages whose files it reads.
    :param build: Called with the folder to fill, and a scratch folder that survives an interruption of the same work;
        returns a summary for the manifest.
    :param always: Run it even if nothing has changed (measurements).
    :param parallel: All processes of a distributed run work on it together; otherwise the others wait for the main one.
    :return: The stage's summary.
    """
    digests = {name: run.digest(name) for name in parents}
    key = content_hash({"inputs": inputs, "parents": digests, "code": __version__})
    done = run.manifest["stages"].get(stage)
    if not always and done and done["key"] == key and _files_present(run.folder, done["files"]):
        say(f"{stage}: unchanged, skipped")
        return done["summary"]
    work = run.folder / ".work" / stage
    filling = work / "filling"
    if is_main_process():
        with _locked(run.folder):
            _clear(work, key)
            if parallel:
                wait_for_everyone()
            started = time.monotonic()
            summary = build(filling, work / key)
            raise_if_interrupted()
            files = _described(filling, stage)
            if (run.folder / stage).exists():
                (run.folder / stage).rename(work / "old")
            filling.rename(run.folder / stage)
            _record(
                run,
                stage,
                {
                    "key": key,
                    "digest": content_hash([[file["path"], file["sha256"]] for file in files]),
                    "parents": digests,
                    "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                    "seconds": round(time.monotonic() - started, 1),
                    "versions": recorded_versions(),
                    "summary": summary,
                    "files": files,
                },
            )
            shutil.rmtree(work)
    elif parallel:
        wait_for_everyone()
        build(filling, work / key)
    wait_for_everyone()
    return run.manifest["stages"][stage]["summary"]


def recorded_versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that shape the outputs."""
    versions = {"compress": __version__, "python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs alike."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def content_hash(content: Any) -> str:
    """A short SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _files_present(folder: Path, files: list[dict[str, Any]]) -> bool:
    return all((folder / f["path"]).is_file() and (folder / f["path"]).stat().st_size == f["bytes"] for f in files)


def _described(filling: Path, stage: str) -> list[dict[str, Any]]:
    files = sorted(path for path in filling.rglob("*") if path.is_file())
    return [
        {
            "path": f"{stage}/{path.relative_to(filling).as_posix()}",
            "role": role_of(path),
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in files
    ]


def role_of(path: Path) -> str:
    """What a file of a stage is for, by its name."""
    if path.name.startswith(("tokenizer", "special_tokens", "vocab", "merges")):
        return "tokenizer"
    if path.suffix in (".safetensors", ".onnx", ".data", ".engine"):
        return "model"
    if path.suffix in (".jsonl", ".npy"):
        return "data"
    return "report" if path.suffix in (".md", ".html") else "description"


def _prepare(folder: Path, recipe: Recipe) -> None:
    """Create the run directory, keep its recipe, and let ``latest`` name it."""
    folder.mkdir(parents=True, exist_ok=True)
    with _atomic_file(folder / "recipe.yaml") as path:
        save_recipe(recipe, path)
    pointer = folder.parent / f".latest-{os.getpid()}"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(recipe.name)
    pointer.replace(folder.parent / "latest")


def _clear(work: Path, key: str) -> None:
    """An empty folder to fill, and the scratch folder of this work as an interruption left it."""
    if not (work / key).is_dir():  # what is left of other work is of no use
        shutil.rmtree(work, ignore_errors=True)
        (work / key).mkdir(parents=True)
    for name in ("filling", "old"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "filling").mkdir()


def _record(run: Run, stage: str, entry: dict[str, Any]) -> None:
    manifest = run.manifest
    manifest["stages"][stage] = entry
    with _atomic_file(run.folder / "manifest.json") as path:
        write_json(path, manifest)


@contextlib.contextmanager
def _atomic_file(final: Path) -> Iterator[Path]:
    partial = final.with_name(f".{final.name}.partial")
    yield partial
    partial.replace(final)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise CompressError(f"{folder}: another compress is working in this run; wait for it to end") from None
