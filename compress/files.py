"""Reading files that may be anybody's."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.errors import CompressError, first_line

_LARGEST_OBJECT = 64_000_000  # bytes of a description


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


def json_object(path: Path) -> Mapping[str, Any]:
    """What a file in JSON holds; nothing where there is none.

    :raises CompressError: If it cannot be read, is no file, or holds something else.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        content = json.loads(read_limited(path, _LARGEST_OBJECT))
    except (OSError, ValueError, RecursionError) as error:
        raise CompressError(f"{path}: cannot be read ({first_line(error)}); copy it again") from error
    if not isinstance(content, dict):
        raise CompressError(f"{path}: not an object in JSON; copy it again")
    return content
