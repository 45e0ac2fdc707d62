"""Running one stage: skipped where nothing has changed, written to a scratch folder, renamed and recorded."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue

from compress.console import say
from compress.memory import give_back_memory
from compress.processes import is_main_process, raise_if_interrupted, wait_for_everyone
from compress.runs.directory import Run, locked
from compress.runs.files import atomic_file, content_hash, follow_umask, known_sha256, role_of, write_json
from compress.runs.manifest import FileEntry, RunManifest, Stage, StageEntry, Summary, alteration, summary_in
from compress.runs.versions import program_version, recorded_versions


def run_stage(
    run: Run,
    stage: Stage[Summary],
    inputs: Mapping[str, object],
    parents: Sequence[str],
    build: Callable[[Path, Path], Summary],
    *,
    always: bool = False,
    parallel: bool = False,
) -> Summary:
    """Run one stage, unless it has been run and neither what it depends on nor its own files have changed since.

    :param inputs: The part of the recipe that the stage depends on, as JSON values.
    :param parents: Stages whose files it reads.
    :param build: Called with the folder to fill, and a scratch folder that survives an interruption of the same work;
        returns the summary.
    :param always: Run it even if nothing has changed (measurements).
    :param parallel: All processes of a distributed run work on it together; otherwise the others wait for the main one.
    """
    digests = {name: run.digest(name) for name in parents}
    key = content_hash({"inputs": inputs, "parents": digests, "code": program_version()})
    done = run.manifest.stages.get(stage.name)
    if not always and done and done.key == key:
        altered = alteration(run.folder, stage.name, done)
        if altered is None:
            say(f"{stage.name}: unchanged, skipped")
            return summary_in(run.folder, stage, done)
        say(f"{stage.name}: {altered}: made again")
    work = run.folder / ".work" / stage.name
    filling = work / "filling"
    if is_main_process():
        with locked(run.folder):
            _clear(work, key)
            if parallel:
                wait_for_everyone()
            started = time.monotonic()
            summary = build(filling, work / key)
            give_back_memory()  # what this stage held is not missed in the next
            raise_if_interrupted()
            follow_umask(filling)
            depends = _Dependence(key, json.loads(json.dumps(inputs)), digests)
            entry = _entry(filling, stage.name, depends, summary, time.monotonic() - started)
            _forget(run, stage.name)  # whatever stops us from here on, no record speaks of files that are not its own
            if (run.folder / stage.name).exists():
                (run.folder / stage.name).rename(work / "old")
            filling.rename(run.folder / stage.name)
            _record(run, stage.name, entry)
            shutil.rmtree(work)
    elif parallel:
        wait_for_everyone()
        build(filling, work / key)
    wait_for_everyone()
    return run.summary(stage)


@dataclass(frozen=True)
class _Dependence:
    """What a stage is made from: ``inputs`` and the digests of ``parents``, and the ``key`` over both."""

    key: str
    inputs: dict[str, JsonValue]
    parents: dict[str, str]


def _entry(filling: Path, stage: str, depends: _Dependence, summary: Summary, seconds: float) -> StageEntry:
    files = [
        FileEntry(
            path=f"{stage}/{path.relative_to(filling).as_posix()}",
            role=role_of(path),
            sha256=known_sha256(path),
            bytes=path.stat().st_size,
        )
        for path in sorted(path for path in filling.rglob("*") if path.is_file())
    ]
    return StageEntry(
        key=depends.key,
        inputs=depends.inputs,
        digest=content_hash([[file.path, file.sha256] for file in files]),
        parents=depends.parents,
        finished=datetime.now(UTC).replace(microsecond=0),
        seconds=round(seconds, 1),
        versions=recorded_versions(),
        summary=summary.model_dump(mode="json", by_alias=True),
        files=files,
    )


def _clear(work: Path, key: str) -> None:
    """An empty folder to fill, and the scratch folder of this work as an interruption left it."""
    if not (work / key).is_dir():  # what is left of other work is of no use
        shutil.rmtree(work, ignore_errors=True)
        (work / key).mkdir(parents=True)
    for name in ("filling", "old"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "filling").mkdir()


def _record(run: Run, stage: str, entry: StageEntry) -> None:
    manifest = run.manifest
    _write(run, manifest.model_copy(update={"stages": {**manifest.stages, stage: entry}}))


def _forget(run: Run, stage: str) -> None:
    manifest = run.manifest
    others = {name: entry for name, entry in manifest.stages.items() if name != stage}
    if others != manifest.stages:
        _write(run, manifest.model_copy(update={"stages": others}))


def _write(run: Run, manifest: RunManifest) -> None:
    with atomic_file(run.folder / "manifest.json") as path:
        write_json(path, manifest.model_dump(mode="json", by_alias=True))
