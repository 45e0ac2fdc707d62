"""A bundle as one file, `.tar.zst`: the same folder gives the same bytes; unpacking trusts nothing."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from compress.errors import CompressError
from compress.serving.format import LARGEST_MANIFEST, MANIFEST, NOT_IN_MANIFEST, Manifest, read_bundle_manifest

_LEVEL = 10
_MOST_EXPANDED = 100  # times the archive's size; text shrinks to a tenth, weights hardly
_HEADERS = 100_000  # bytes that may be read between the contents of two members
_LARGEST_WINDOW = 2**27  # bytes that the decompressor may hold


class _Meter:
    """A stream of which only so much may be read: a tar's headers can be made to fill the memory."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.left = _HEADERS

    def read(self, size: int) -> bytes:
        content = self._stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise tarfile.ReadError("more than its headers say")
        return content


def pack(folder: Path, archive: Path) -> None:
    """Write a bundle's files, the manifest first, without times, owners or other traces of this machine."""
    import zstandard

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name != MANIFEST)
    partial = archive.with_name(f".{archive.name}.partial")
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    try:
        with (
            partial.open("wb") as raw,
            compressor.stream_writer(raw) as stream,
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
        ):
            for name in names:
                member = tarfile.TarInfo(name)
                member.size, member.mode = (folder / name).stat().st_size, 0o644
                with (folder / name).open("rb") as file:
                    tar.addfile(member, file)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack into an empty folder: only what the manifest names, in the sizes that it gives.

    :raises CompressError: At the first member that is not a file of the manifest, lies outside of the folder, is a
        link, comes twice, or is larger; where the archive would become too large; where it is damaged or cut off.
    """
    import zstandard

    try:
        with (
            archive.open("rb") as raw,
            zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(raw) as stream,
            tarfile.open(fileobj=(meter := _Meter(stream)), mode="r|", errorlevel=2) as tar,  # type: ignore[call-overload]
        ):
            _extract(archive, tar, meter, folder)
            meter.left = _HEADERS
            while meter.read(_HEADERS):  # what follows the end belongs to the checksum
                pass
    except (tarfile.TarError, zstandard.ZstdError, EOFError, UnicodeError, ValueError) as error:
        raise CompressError(
            f"{archive}: damaged, or not a {archive.suffix} of a bundle ({error}); get it again"
        ) from error


def _extract(archive: Path, tar: tarfile.TarFile, meter: _Meter, folder: Path) -> None:
    members = iter(tar)
    first = next(members, None)
    if first is None or first.name != MANIFEST or not first.isreg() or first.size > LARGEST_MANIFEST:
        raise CompressError(f"{archive}: does not begin with {MANIFEST}: not a bundle")
    _write(tar, meter, first, folder / MANIFEST)
    try:
        manifest = read_bundle_manifest(folder)
    except CompressError as error:
        raise CompressError(str(error).replace(str(folder), str(archive))) from error
    sizes = {file.path: file.bytes for file in manifest.files}
    _check_size(archive, manifest, folder)
    for member in _checked(archive, members, sizes):
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(tar, meter, member, path)


def _checked(archive: Path, members: Iterator[tarfile.TarInfo], sizes: Mapping[str, int]) -> Iterator[tarfile.TarInfo]:
    seen = {MANIFEST}
    for member in members:
        known = member.name in sizes or member.name in NOT_IN_MANIFEST
        if not member.isreg():
            raise CompressError(f"{archive}: {member.name!r:.200} is not a file (a link, a device or a folder)")
        if not known:
            raise CompressError(f"{archive}: {member.name!r:.200} is not a file of the manifest, or lies outside of it")
        if member.name in seen:
            raise CompressError(f"{archive}: {member.name!r:.200} comes twice")
        if member.size > sizes.get(member.name, LARGEST_MANIFEST):
            raise CompressError(f"{archive}: {member.name!r:.200} is larger than the manifest says")
        seen.add(member.name)
        yield member
    if missing := sorted(sizes.keys() - seen):
        raise CompressError(f"{archive}: cut off: it lacks {missing[0]!r:.200}; get it again")


def _check_size(archive: Path, manifest: Manifest, folder: Path) -> None:
    total = sum(file.bytes for file in manifest.files)
    if total > _MOST_EXPANDED * archive.stat().st_size:
        raise CompressError(f"{archive}: would become {total:,} bytes, {_MOST_EXPANDED} times its size: refused")
    free = shutil.disk_usage(folder).free
    if total > free:
        raise CompressError(f"{archive}: needs {total:,} bytes, {free:,} are free; free space")


def _write(tar: tarfile.TarFile, meter: _Meter, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError("a member without content")
    meter.left = member.size + _HEADERS
    with path.open("xb") as file:
        shutil.copyfileobj(content, file)
    meter.left = _HEADERS
