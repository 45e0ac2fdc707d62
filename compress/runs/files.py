"""Files of a run: hashes, JSON, atomic writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    if path.suffix in (".safetensors", ".onnx", ".data", ".engine"):
        return "model"
    if path.suffix in (".jsonl", ".npy"):
        return "data"
    return "report" if path.suffix in (".md", ".html") else "description"


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """A path to write to in the block; it takes the place of the file when the block ends."""
    partial = final.with_name(f".{final.name}.partial")
    yield partial
    partial.replace(final)
