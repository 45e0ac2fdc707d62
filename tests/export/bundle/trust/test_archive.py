"""Archives: what is packed comes back, and what means harm does not come out."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from compress.errors import CompressError
from compress.serving.format import BundleFile, Manifest, read_bundle_manifest
from export.bundle.trust.archive import pack, unpack
from export.bundle.trust.verify import verify

HARMLESS = b"harmless"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_back(bundle: Path, tmp_path: Path):
    pack(bundle, tmp_path / "bundle.tar.zst")
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "bundle.tar.zst", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(bundle)


def test_tar_itself_reads_it(bundle: Path, tmp_path: Path):
    pack(bundle, tmp_path / "bundle.tar.zst")
    raw = zstandard.ZstdDecompressor().stream_reader((tmp_path / "bundle.tar.zst").open("rb")).read()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        members = tar.getmembers()
    assert members[0].name == "manifest.json"
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}


def manifest_of(bundle: Path, size: int = len(HARMLESS)) -> bytes:
    """A manifest with one file, `README.md`."""
    file = BundleFile(path="README.md", role="report", sha256="0" * 64, bytes=size)
    sealed: Manifest = read_bundle_manifest(bundle).model_copy(update={"files": [file], "digest": ""}).sealed()
    return sealed.as_text().encode()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = len(HARMLESS)) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size if kind == tarfile.REGTYPE else 0
    return info


def archive(path: Path, manifest: bytes, *members: tarfile.TarInfo, **options) -> Path:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", **options) as tar:
        tar.addfile(member("manifest.json", size=len(manifest)), io.BytesIO(manifest))
        for info in members:
            tar.addfile(info, io.BytesIO(HARMLESS.ljust(info.size, b"\0")) if info.isreg() else None)
    path.write_bytes(zstandard.ZstdCompressor().compress(raw.getvalue()))
    return path


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([member("../../evil")], "lies outside of it"),
        ([member("/tmp/evil")], "lies outside of it"),
        ([member("README.md/../../evil")], "lies outside of it"),
        ([member("README.md", tarfile.SYMTYPE, "/etc/passwd")], "is not a file"),
        ([member("README.md", tarfile.LNKTYPE, "manifest.json")], "is not a file"),
        ([member("README.md", tarfile.FIFOTYPE)], "is not a file"),
        ([member("README.md", tarfile.CHRTYPE)], "is not a file"),
        ([member("models", tarfile.DIRTYPE)], "is not a file"),
        ([member("other.md")], "is not a file of the manifest"),
        ([member("README.md"), member("README.md")], "comes twice"),
        ([member("manifest.json")], "comes twice"),
        ([member("README.md", size=10_000)], "larger than the manifest says"),
    ],
)
def test_malicious_members_are_refused(bundle: Path, tmp_path: Path, members: list, reason: str):
    path = archive(tmp_path / "bad.tar.zst", manifest_of(bundle), *members)
    with pytest.raises(CompressError, match=reason):
        verify(path, unpack_to=tmp_path / "out/bundle")
    assert contents(tmp_path) == {"bad.tar.zst": path.read_bytes()}


def test_bombs_are_refused(bundle: Path, tmp_path: Path):
    path = archive(tmp_path / "bomb.tar.zst", manifest_of(bundle, size=10**12), member("README.md", size=1_000_000))
    with pytest.raises(CompressError, match=r"would become 1,000,000,000,000 bytes, 100 times its size: refused"):
        verify(path)
    headers = {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "a" * 50_000_000}}
    path = archive(tmp_path / "headers.tar.zst", manifest_of(bundle), **headers)
    with pytest.raises(CompressError, match="more than its headers say"):
        verify(path)
    late = member("README.md")
    late.pax_headers = {"comment": "a" * 50_000_000}
    path = archive(tmp_path / "late.tar.zst", manifest_of(bundle), late, format=tarfile.PAX_FORMAT)
    with pytest.raises(CompressError, match="more than its headers say"):
        verify(path)


def test_what_is_no_bundle_is_refused(tmp_path: Path):
    cases: dict[str, Callable[[Path], object]] = {
        "noise": lambda path: path.write_bytes(random.Random(0).randbytes(1000)),
        "empty": lambda path: path.write_bytes(b""),
        "other": lambda path: path.write_bytes(zstandard.ZstdCompressor().compress(b"not a tar")),
        "altered": lambda path: archive(path, b"{}"),
    }
    for name, write in cases.items():
        path = tmp_path / f"{name}.tar.zst"
        write(path)
        with pytest.raises(CompressError, match=name):
            verify(path)


def test_a_damaged_archive_never_gives_other_files(bundle: Path, tmp_path: Path):
    """Cut off or with any byte altered: refused, found by the hashes, or of no consequence."""
    whole, path, generator = tmp_path / "whole.tar.zst", tmp_path / "damaged.tar.zst", random.Random(0)
    pack(bundle, whole)
    raw, wanted = whole.read_bytes(), contents(bundle)
    for attempt in range(60):
        damaged = bytearray(raw)
        if attempt % 4:
            place = generator.randrange(len(raw)) if attempt > 20 else attempt
            damaged[place] ^= 1 << generator.randrange(8)
        else:
            del damaged[generator.randrange(len(raw)) :]
        path.write_bytes(damaged)
        out = tmp_path / f"out-{attempt}"
        out.mkdir()
        try:
            unpack(path, out)
        except CompressError:
            continue
        assert contents(out) == wanted
