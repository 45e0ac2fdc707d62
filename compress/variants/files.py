"""The files of variants. Of the standard library alone: processes whose memory is measured load it."""

from __future__ import annotations

from pathlib import Path


def engines_in(folder: Path) -> list[Path]:
    """The engines in a folder, in the order of their names."""
    return sorted(folder.glob("*.engine"))
