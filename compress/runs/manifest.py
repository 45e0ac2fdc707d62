"""The manifest: what made every file of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, JsonValue, ValidationError

from compress.contract import Contract
from compress.errors import CompressError
from compress.files import read_limited
from compress.runs.files import known_sha256

MANIFEST_SCHEMA: Literal[4] = 4
_LARGEST = 64_000_000  # bytes
Summary = TypeVar("Summary", bound=Contract)


@dataclass(frozen=True)
class Stage(Generic[Summary]):
    """A stage's name, which is its folder's, and the model of what it returns."""

    name: str
    summary: type[Summary]


class FileEntry(Contract):
    """One file of a stage."""

    path: str = Field(description="from the run directory, with forward slashes")
    role: str
    sha256: str
    bytes: int


class StageEntry(Contract):
    """A finished stage."""

    key: str = Field(description="hash of what it depends on")
    inputs: dict[str, JsonValue] = Field(description="the part of the recipe that it depends on")
    digest: str = Field(description="hash of its files' hashes")
    parents: dict[str, str] = Field(description="digests of the stages that it was made from")
    finished: datetime
    seconds: float
    versions: dict[str, str]
    summary: dict[str, JsonValue]
    files: list[FileEntry]


class RunManifest(Contract):
    """`manifest.json` of a run directory."""

    version: Literal[4] = Field(4, alias="schema")
    run: str
    stages: dict[str, StageEntry] = Field(default_factory=dict)


def read_manifest(folder: Path, run: str) -> RunManifest:
    """The manifest of a run directory as it is on disk; an empty one where nothing was finished yet.

    :param run: Name of the run.
    :raises CompressError: If it is damaged, or was written by another version.
    """
    path = folder / "manifest.json"
    again = "delete the run directory and start again"
    if not path.exists():
        return RunManifest(run=run)
    try:
        content = json.loads(read_limited(path, _LARGEST).decode("utf-8"))
        if content["schema"] != MANIFEST_SCHEMA:
            raise CompressError(
                f"{path}: written by another version (schema {content['schema']}, this one has {MANIFEST_SCHEMA}); "
                f"{again}"
            )
        return RunManifest.model_validate(content)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CompressError(f"{path}: damaged manifest; {again}") from error


def summary_in(folder: Path, stage: Stage[Summary], entry: StageEntry) -> Summary:
    """What a finished stage returned.

    :raises CompressError: If the manifest does not say it as this version does.
    """
    try:
        return stage.summary.model_validate(entry.summary)
    except ValidationError as error:
        raise CompressError(
            f"{folder / 'manifest.json'}: what it says of '{stage.name}' is not as this version writes it; delete "
            f"{folder / stage.name} and run the command again"
        ) from error


def alteration(folder: Path, stage: str, entry: StageEntry) -> str | None:
    """What of a finished stage's files is not as it was made; nothing where all are. Hidden files are nobody's.

    :param folder: The run directory.
    """
    known = {file.path: file for file in entry.files}
    files = (path.relative_to(folder) for path in (folder / stage).rglob("*") if path.is_file())
    present = {path.as_posix() for path in files if not any(part.startswith(".") for part in path.parts)}
    if missing := sorted(known.keys() - present):
        return f"{folder / missing[0]} is missing"
    if added := sorted(present - known.keys()):
        return f"{folder / added[0]} was added after the stage was finished"
    for path, file in known.items():
        if (folder / path).stat().st_size != file.bytes or known_sha256(folder / path) != file.sha256:
            return f"{folder / path} was altered after the stage was finished"
    return None
