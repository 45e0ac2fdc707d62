"""Reading files that may be anybody's."""

from __future__ import annotations

import stat
from pathlib import Path

from compress.errors import CompressError


def read_limited(path: Path, largest: int) -> bytes:
    """The content of a file that may be anybody's.

    :param largest: Bytes that it may have.
    :raises CompressError: If it is larger, or no regular file: a pipe or a device may have no end.
    :raises OSError: If it cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise CompressError(f"{path}: not a file but a folder, a pipe or a device")
    if status.st_size > largest:
        raise CompressError(f"{path}: {status.st_size:,} bytes, where {largest:,} are the most that it may have")
    return path.read_bytes()
