"""Models of the hub without the hub: as `huggingface_hub` keeps what it has fetched."""

from __future__ import annotations

import hashlib
from pathlib import Path


def keep(folder: Path, cache: Path, model: str, branch: str = "main") -> str:
    """Lay out a folder as one commit of a model, to which its branch points.

    :return: The commit.
    """
    kept = cache / f"models--{model.replace('/', '--')}"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    commit = hashlib.sha1(b"".join(path.read_bytes() for path in files), usedforsecurity=False).hexdigest()
    for path in files:
        blob = kept / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        link = kept / "snapshots" / commit / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (kept / "refs").mkdir(exist_ok=True)
    (kept / "refs" / branch).write_text(commit)
    return commit
