"""Bundles as one file: cut off, altered, and made by somebody who means harm."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import zstandard
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import REPLACEMENTS, altered_bytes

from export.bundle.trust.archive import pack
from surfaces.bundles import contents, verified

NAME = "bundle.tar.zst"
Members = list[tuple[tarfile.TarInfo, bytes]]


def ask(folder: Path, original: Path) -> None:
    """Check and unpack, and compare what comes out with what was packed."""
    beside = sorted(path.name for path in folder.parent.iterdir())
    try:
        verified(folder / NAME, unpack_to=folder / "out" / "bundle")
    finally:
        if sorted(path.name for path in folder.parent.iterdir()) != beside:
            raise WrongAnswer("something was written outside")
    if contents(folder / "out" / "bundle") != contents(original):
        raise WrongAnswer("what comes out is not what was packed")


def members_of(bundle: Path) -> Members:
    """As a bundle is packed, the manifest first."""
    found: Members = []
    for name, content in sorted(contents(bundle).items(), key=lambda item: item[0] != "manifest.json"):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        found.append((member, content))
    return found


def write(path: Path, members: Members, kind: int = tarfile.GNU_FORMAT) -> None:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=kind) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content) if member.isreg() else None)
    path.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))


NAMES = (
    "../../evil",
    "/tmp/evil",
    "README.md/../../evil",
    "..",
    ".",
    "",
    "a" * 5000,
    "[/]",
    "\x1b[31m",
    "README.md\n",
    "é\udc80",
)
KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE, b"9")


def draw(random_: random.Random, folder: Path, original: Path) -> str:
    """The bytes altered, those inside of the compression, or the members."""
    path, members = folder / NAME, members_of(original)
    way = random_.choice(("packed bytes", "unpacked bytes", "members", "members"))
    if way == "members":
        words = altered_members(random_, members)
        write(path, members, random_.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)))
        return words
    pack(original, path)
    if way == "packed bytes":
        words, raw = altered_bytes(random_, path.read_bytes())
        path.write_bytes(raw)
        return words
    inside = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes())).read()
    words, raw = altered_bytes(random_, inside)
    path.write_bytes(zstandard.ZstdCompressor().compress(raw))
    return f"inside: {words}"


def altered_members(random_: random.Random, members: Members) -> str:
    """Alter the list of members in its place; what was done, in words."""
    at = random_.randrange(len(members))
    member, content = members[at]
    way = random_.choice(("named", "a kind", "sized", "twice", "missing", "first", "with a header"))
    if way == "named":
        member.name = random_.choice(NAMES)
    elif way == "a kind":
        member.type, member.linkname, member.size = (
            random_.choice(KINDS),
            random_.choice(("/etc/passwd", "README.md")),
            0,
        )
    elif way == "sized":
        members[at] = (member, content + b"x" * 1000)
        member.size += 1000
    elif way == "twice":
        members.append(members[at])
    elif way == "missing":
        del members[at]
    elif way == "first":
        members.insert(0, members.pop(at))
    else:
        member.pax_headers = {
            random_.choice(("path", "size", "comment", "GNU.sparse.map")): "1" * random_.choice((3, 10**6))
        }
    return f"member {at} {way}: {member.name!r:.50}"


def _bomb(path: Path, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> None:
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(10**9)))


def surface(material: Material) -> Surface:
    def replaced(replace: Spoil) -> Spoil:
        def spoil(folder: Path) -> None:
            pack(material.bundle, folder / NAME)
            replace(folder / NAME)

        return spoil

    cases: dict[str, tuple[Spoil, Wants]] = {
        "unaltered": (replaced(lambda path: None), "accepted"),
        "a gigabyte of zeros": (replaced(lambda path: _bomb(path, ())), "refused"),
        "frames without end": (
            replaced(lambda path: path.write_bytes(path.read_bytes() + b"\x50\x2a\x4d\x18" * 10)),
            "either",
        ),
        **{f"in its place: {name}": (replaced(put), "refused") for name, put in REPLACEMENTS.items()},
    }
    return Surface(
        "archives",
        lambda folder: ask(folder, material.bundle),
        cases,
        lambda random_, folder: draw(random_, folder, material.bundle),
        draws=500,
        places=("--unpack",),
    )
