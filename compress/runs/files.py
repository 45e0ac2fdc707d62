"""Files of a run: hashes, JSON, atomic writes, modes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from compress.errors import CompressError

_known_hashes: dict[tuple[int, ...], str] = {}
_SETTLED = 1_000_000_000  # nanoseconds: what was changed within one tick of the file system's clock looks unchanged


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """The same, read once a process as long as nothing is written to the file."""
    status = path.stat()
    known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if known in _known_hashes:
        return _known_hashes[known]
    found = file_sha256(path)
    if time.time_ns() - status.st_ctime_ns > _SETTLED:
        _known_hashes[known] = found
    return found


def follow_umask(folder: Path) -> None:
    """Give all files below a folder the mode of new ones: some libraries make theirs for their owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs alike."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def content_hash(content: object) -> str:
    """A short SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def role_of(path: Path) -> str:
    """What a file of a stage is for, by its name."""
    if path.name.startswith(("tokenizer", "special_tokens", "vocab", "merges")):
        return "tokenizer"
    if path.suffix in (".safetensors", ".onnx", ".data", ".onnx_data", ".engine"):
        return "model"
    if path.suffix in (".jsonl", ".ndjson", ".npy"):
        return "data"
    return "report" if path.suffix in (".md", ".html") else "description"


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """A path to write to in the block; it takes the place of the file when the block ends."""
    partial = final.with_name(f".{final.name}.partial")
    yield partial
    partial.replace(final)


@contextlib.contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """A new folder to fill in the block; it gets its name when the block ends, and is gone if the block fails.

    :raises CompressError: If there is something of this name already.
    """
    if final.is_symlink() or (final.exists() and (not final.is_dir() or any(final.iterdir()))):
        raise CompressError(f"{final}: it exists already; name a new folder")
    partial = final.with_name(f".{final.name}.partial")
    missing = [parent for parent in final.parents if not parent.exists()]
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    try:
        partial.mkdir(parents=True)
        yield partial
        follow_umask(partial)
        partial.replace(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in missing:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise
