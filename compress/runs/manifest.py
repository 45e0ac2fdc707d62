"""The manifest: what made every file of a run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, JsonValue, ValidationError

from compress.contract import Contract
from compress.errors import CompressError

MANIFEST_SCHEMA: Literal[3] = 3
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
    digest: str = Field(description="hash of its files' hashes")
    parents: dict[str, str] = Field(description="digests of the stages that it was made from")
    finished: str = Field(description="when, ISO 8601")
    seconds: float
    versions: dict[str, str]
    summary: dict[str, JsonValue]
    files: list[FileEntry]


class RunManifest(Contract):
    """`manifest.json` of a run directory."""

    version: Literal[3] = Field(3, alias="schema")
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
        content = json.loads(path.read_text("utf-8"))
        if content["schema"] != MANIFEST_SCHEMA:
            raise CompressError(
                f"{path}: written by another version (schema {content['schema']}, this one has {MANIFEST_SCHEMA}); "
                f"{again}"
            )
        return RunManifest.model_validate(content)
    except (ValueError, KeyError, TypeError) as error:
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
