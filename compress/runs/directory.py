"""The run directory: one folder a stage, and a manifest that says what made every file."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import JsonValue, ValidationError

from compress.errors import CompressError, first_problem
from compress.processes import is_main_process, wait_for_everyone
from compress.recipe.file import load_recipe, save_recipe
from compress.recipe.recipe import Recipe
from compress.runs.files import atomic_file
from compress.runs.manifest import RunManifest, Stage, Summary, alteration, read_manifest, summary_in
from compress.tasks.contract import Task
from compress.tasks.registry import task_named


@dataclass(frozen=True)
class Run:
    """A run directory and a recipe: the run's own, with ``overrides`` on top that hold for one command.

    ``overrides`` are values by dotted field of the recipe.
    """

    folder: Path
    recipe: Recipe
    overrides: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        """What the run's models do."""
        return task_named(self.recipe.task)

    @property
    def trusts_code(self) -> bool:
        """Whether code that came with its teacher, and lies beside its models since, may run."""
        return self.recipe.teacher.trust_remote_code

    @property
    def tokenisation(self) -> Mapping[str, object]:
        """The part of the recipe that decides, with a tokenizer, what models read of the rows; JSON values."""
        data = self.recipe.data
        names = ("max_length", "language_codes", "prefix", "prompts", "default_prompt")
        return {"task": self.recipe.task, **{name: getattr(data, name) for name in names}}

    @property
    def as_made(self) -> Run:
        """The run with the data, teacher and student of its recipe as these stages were made, whatever it says by now.

        What rows are read by stays as it says: a stage that was made otherwise is outdated.

        :raises CompressError: If a section cannot be both as its stage was made and as the recipe has the rest of it.
        """
        original = "model" if self.recipe.student.kind == "as-is" else "teacher"
        sections = {}
        for name, stage in (("data", "data"), ("teacher", original), ("student", "student")):
            section, entry = getattr(self.recipe, name), self.manifest.stages.get(stage)
            made = entry.inputs if entry else {}
            known = {field: value for field, value in made.items() if field in type(section).model_fields}
            try:
                sections[name] = section.model_validate({**section.model_dump(), **known})
            except ValidationError as error:
                raise CompressError(
                    f"{self.folder / 'manifest.json'}: what {stage} was made with and what the recipe says of it do "
                    f"not go together ({first_problem(error)}); run `compress distill` again"
                ) from error
        return replace(self, recipe=self.recipe.model_copy(update=sections))

    @property
    def manifest(self) -> RunManifest:
        """The manifest as it is on disk."""
        return read_manifest(self.folder, self.recipe.name)

    def summary(self, stage: Stage[Summary]) -> Summary:
        """What a finished stage returned.

        :raises CompressError: If the stage has not been run.
        """
        self.path_of(stage.name)
        return summary_in(self.folder, stage, self.manifest.stages[stage.name])

    def path_of(self, stage: str) -> Path:
        """The folder of a finished stage, whose files are as they were made.

        :raises CompressError: If the stage has not been run, or a file of it was altered.
        """
        entry = self.manifest.stages.get(stage)
        if entry is None or not (self.folder / stage).is_dir():
            raise CompressError(f"{self.folder}: stage '{stage}' is missing; run `compress distill` first")
        if altered := alteration(self.folder, stage, entry):
            raise CompressError(f"{altered}; run the command that made it again, which makes '{stage}' anew")
        return self.folder / stage

    def current(self, stage: str) -> Path:
        """The same of a stage that is not outdated.

        :raises CompressError: If it is missing, altered or outdated.
        """
        if reason := self.outdated(stage):
            raise CompressError(f"{self.folder}: {reason}; run `compress distill` again")
        return self.path_of(stage)

    def outdated(self, stage: str) -> str | None:
        """Why a stage is not one of the models that the run has now; nothing where it is.

        It is where it was made from what its parents hold now, and rows were read and text written for it and for all
        that it was made from as the recipe says now.

        :raises CompressError: If a file of what it was made from was altered.
        """
        entry = self.manifest.stages.get(stage)
        if entry is None or not (self.folder / stage).is_dir():
            return f"stage '{stage}' is missing"
        now = {**self.tokenisation, "generation": self.recipe.generation.model_dump(mode="json")}
        for name, value in now.items():
            if entry.inputs.get(name, value) != value:
                return f"stage '{stage}' was made with {name} {entry.inputs[name]}, the recipe says {value}"
        for parent, digest in entry.parents.items():
            if reason := self.outdated(parent):
                return reason
            if self.digest(parent) != digest:
                return f"stage '{stage}' was made from another '{parent}'"
        return None

    def is_current(self, stage: str) -> bool:
        """Whether a stage is not outdated."""
        return self.outdated(stage) is None

    def digest(self, stage: str) -> str:
        """A hash over the contents of a finished stage's files."""
        self.path_of(stage)
        return self.manifest.stages[stage].digest


def open_run(recipe: Recipe, output: Path) -> Run:
    """Create the run directory of a recipe, or go on in the one that is there, and make it the latest run.

    A run that is there keeps its own recipe until `keep_recipe` is called: another one may turn out to be no good.

    :param output: Folder that holds all runs.
    :raises CompressError: If the folder cannot be written, another process works in it, or it is of another version.
    """
    folder = output / recipe.name
    try:
        if is_main_process():
            folder.mkdir(parents=True, exist_ok=True)
            read_manifest(folder, recipe.name)  # of a run that an earlier version has made nothing is touched
            if not (folder / "recipe.yaml").exists():
                keep_recipe(Run(folder, recipe))
            _point_to(folder)
    except OSError as error:
        raise CompressError(f"{folder}: cannot be written ({error.strerror}); choose another --output") from error
    wait_for_everyone()
    return Run(folder, recipe)


def pointed_to(output: Path) -> str | None:
    """The name of the latest run; none where there is none."""
    link = output / "latest"
    return os.readlink(link) if link.is_symlink() else None


def discard_run(run: Run, latest: str | None) -> None:
    """Take away a run that came to nothing.

    :param latest: The run that was the latest before it.
    """
    (run.folder.parent / "latest").unlink(missing_ok=True)
    shutil.rmtree(run.folder)
    if latest is not None:
        _point_to(run.folder.parent / latest)


def find_run(path: Path | None, output: Path, overrides: Mapping[str, JsonValue] | None = None) -> Run:
    """The run that the user names by its folder, or the latest one; nothing is written.

    :param overrides: Values by dotted field of its recipe, which hold until `keep_recipe` writes them down.
    :raises CompressError: If there is none.
    """
    folder = path or output / "latest"
    if not (folder / "recipe.yaml").is_file():
        raise CompressError(f"{folder}: no run here; run `compress distill` first or name a run directory")
    read_manifest(folder, folder.name)  # an earlier version's recipe would be blamed for its names
    recipe = load_recipe(folder / "recipe.yaml", overrides)
    return Run(folder.resolve(), recipe, dict(overrides or {}))


def keep_recipe(run: Run) -> None:
    """Make the recipe the run's own: for what changes its stages, after it was validated.

    Of a run that was found, its overrides: on top of the recipe as it is by now, which others may have changed.

    :raises CompressError: If another process works in the run.
    """
    path = run.folder / "recipe.yaml"
    with locked(run.folder):
        recipe = load_recipe(path, run.overrides) if run.overrides else run.recipe
        with atomic_file(path) as partial:
            save_recipe(recipe, partial)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no other process work in the run while the block runs.

    :raises CompressError: If one does.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise CompressError(f"{folder}: another compress is working in this run; wait for it to end") from error


def _point_to(folder: Path) -> None:
    """Let ``latest`` name the run."""
    pointer = folder.parent / f".latest-{os.getpid()}"
    pointer.unlink(missing_ok=True)
    pointer.symlink_to(folder.name)
    pointer.replace(folder.parent / "latest")
