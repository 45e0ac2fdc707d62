"""Checking a bundle: nothing altered, missing or added, nothing harmful, and models that still say the same."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from compress.console import table
from compress.errors import CompressError
from compress.reports.certificate import read_certificate
from compress.runs.files import file_sha256
from compress.serving.format import (
    ARCHIVE_SUFFIX,
    CERTIFICATE_FILE,
    CERTIFICATE_PAGE,
    LARGEST_MANIFEST,
    MANIFEST,
    NOT_IN_MANIFEST,
    SIGNATURE,
    SIGNATURE_SUM,
    BundleFile,
    read_bundle_manifest,
    refuse_run,
)
from export.bundle.trust.archive import unpack
from export.bundle.trust.result import Check, Verification
from export.bundle.trust.signature import signature_problem
from export.bundle.trust.trial import try_models

_ALLOWED = frozenset(
    {".json", ".md", ".html", ".py", ".txt", ".model", ".jinja", ".pbtxt", ".onnx", ".data", ".onnx_data", ".xml"}
    | {".engine", ".bin", ".safetensors", ""}
)
_PICKLE_PROTOCOLS = tuple(bytes([0x80, number]) for number in range(2, 6))
_ZIP = b"PK\x03\x04"
_SHOWN = 5
_OF_CERTIFICATES = (CERTIFICATE_FILE, CERTIFICATE_PAGE, SIGNATURE, SIGNATURE_SUM)


def verify(
    bundle: Path, key: Path | None = None, certificates: Sequence[Path] = (), unpack_to: Path | None = None
) -> Verification:
    """Check a bundle, a folder or an archive, or a certificate's folder. Models are tried if nothing else is wrong.

    :param key: The signer's public key, PEM.
    :param certificates: Of those who issue certificates to signers, PEM.
    :param unpack_to: Where to leave an archive's folder if all checks pass.
    :raises CompressError: If it is no bundle, or an archive that must not be unpacked.
    """
    refuse_run(bundle)
    if unpack_to is not None and bundle.is_dir():
        raise CompressError(f"--unpack: {bundle} is a folder already; leave it out")
    if unpack_to is not None and unpack_to.exists():
        raise CompressError(f"--unpack {unpack_to}: is there already; name a new folder")
    if (bundle / CERTIFICATE_FILE).is_file() and not (bundle / MANIFEST).exists():
        return _verification(bundle, _certificate_checks(bundle, key, certificates))
    with _opened(bundle, unpack_to.parent if unpack_to else None) as folder:
        checks = _files_checks(folder)
        if checks[0].passed:
            checks += _signature_checks(folder, key, certificates)
        if _nothing_failed(checks):  # what a library parses or runs comes after hashes and signature
            trials = try_models(folder, read_bundle_manifest(folder).models)
            malformed = [problem for trial in trials for problem in trial.malformed]
            checks.append(_judged("descriptions and graphs", malformed))
            checks += [check for trial in trials for check in (trial.says, trial.certified) if check]
        # Where an archive was unpacked to tells the user nothing.
        told = [check.model_copy(update={"found": check.found.replace(str(folder), str(bundle))}) for check in checks]
        found = _verification(bundle, told)
        if unpack_to is not None and found.passed:
            folder.rename(unpack_to)
    return found


def _verification(bundle: Path, checks: list[Check]) -> Verification:
    return Verification(bundle=str(bundle), verdict="pass" if _nothing_failed(checks) else "fail", checks=checks)


def _certificate_checks(folder: Path, key: Path | None, certificates: Sequence[Path]) -> list[Check]:
    """Of a certificate that lies by itself: it can be read, and who has signed it."""
    kinds, present = _listed(folder)
    strange = [f"{name} was added" for name in sorted(present - set(_OF_CERTIFICATES))]
    checks = [_judged("no links or devices, no other files", [*kinds, *strange])]
    if _nothing_failed(checks):
        checks += _signature_checks(folder, key, certificates)
    if _nothing_failed(checks):
        try:
            found = read_certificate(folder / CERTIFICATE_FILE)
            checks.append(_check("certificate", True, f"schema {found.version}, of {', '.join(found.variants)}"))
        except CompressError as error:
            checks.append(_check("certificate", False, str(error)))
    return checks


def _nothing_failed(checks: Sequence[Check]) -> bool:
    return all(check.passed is not False for check in checks)


def verification_table(found: Verification) -> Table:
    """One row a check."""
    told = {True: "pass", False: "FAIL", None: "not checked"}
    rows = [(check.what, told[check.passed], check.found) for check in found.checks]
    return table(found.bundle, ("check", "", "found"), rows, left=3)


@contextlib.contextmanager
def _opened(bundle: Path, beside: Path | None) -> Iterator[Path]:
    """The folder, or that of an archive while it is looked at."""
    if bundle.is_dir():
        yield bundle
        return
    if not bundle.is_file() or not bundle.name.endswith(ARCHIVE_SUFFIX):
        raise CompressError(f"{bundle}: not a bundle; name its folder or its {ARCHIVE_SUFFIX}")
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=beside, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        unpack(bundle, folder)
        yield folder


def _told_added(name: str) -> str:
    """That a file is none of the bundle's; Python leaves such beside what a server imports."""
    written = " by Python: delete it, and mount the bundle read-only where it is served"
    return f"{name} was added{written if '__pycache__' in name.split('/') else ''}"


def _files_checks(folder: Path) -> list[Check]:
    kinds, present = _listed(folder)
    checks = [_judged("no links or devices, nothing outside", kinds)]
    if MANIFEST not in present:
        found = f"{folder / MANIFEST} is missing, or no file that can be one"
        return [*checks, _check("manifest", False, found)]
    try:
        manifest = read_bundle_manifest(folder)
    except CompressError as error:
        return [*checks, _check("manifest", False, str(error))]
    checks.append(_check("manifest", True, f"schema {manifest.version}, as it was written"))
    known = {file.path for file in manifest.files}
    missing = [f"{name} is missing" for name in sorted(known - present)]
    added = [_told_added(name) for name in sorted(present - known - set(NOT_IN_MANIFEST))]
    checks.append(_judged("no file missing or added", [*missing, *added], f"{len(known)} files"))
    there = [file for file in manifest.files if file.path in present]
    checks.append(
        _judged("SHA-256 of every file", _altered(folder, there), f"{sum(file.bytes for file in there):,} bytes")
    )
    checks.append(_judged("no pickle, no unknown kind of file", _harmful(folder, there)))
    return checks


def _listed(folder: Path) -> tuple[list[str], set[str]]:
    """What is neither a file nor a folder, and the names of all files; links are not followed."""
    problems, present = [], set()
    for parent, folders, names in os.walk(folder, followlinks=False):
        for name in (*folders, *names):
            path = Path(parent) / name
            shown = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                problems.append(f"{shown} is a link")
            elif shown in NOT_IN_MANIFEST and path.lstat().st_size > LARGEST_MANIFEST:
                problems.append(f"{shown} is larger than such a file can be")
            elif stat.S_ISREG(mode):
                present.add(shown)
            elif not stat.S_ISDIR(mode):
                problems.append(f"{shown} is a device or a pipe")
            elif not any(path.iterdir()):
                problems.append(f"{shown} is an empty folder")
    return problems, present


def _altered(folder: Path, files: Sequence[BundleFile]) -> list[str]:
    def altered(file: BundleFile) -> bool:
        path = folder / file.path
        return path.stat().st_size != file.bytes or file_sha256(path) != file.sha256

    with ThreadPoolExecutor() as pool:
        return [f"{file.path} was altered" for file, bad in zip(files, pool.map(altered, files), strict=True) if bad]


def _harmful(folder: Path, files: Sequence[BundleFile]) -> list[str]:
    problems = []
    for file in files:
        path = folder / file.path
        with path.open("rb") as opened:
            head = opened.read(4)
        if head.startswith(_PICKLE_PROTOCOLS) or head == _ZIP:
            problems.append(f"{file.path} is a pickle, or an archive that may hold one")
        elif path.suffix not in _ALLOWED:
            problems.append(f"{file.path} is of no kind that a bundle has")
    return problems


def _signature_checks(folder: Path, key: Path | None, certificates: Sequence[Path]) -> list[Check]:
    what, wanted = "signature", key is not None or bool(certificates)
    if not (folder / SIGNATURE).is_file():
        if (folder / SIGNATURE_SUM).exists():
            return [_check(what, False, f"{SIGNATURE} is missing")]
        return [_check(what, False if wanted else None, "the bundle is not signed")]
    sum_file, line = folder / SIGNATURE_SUM, f"{file_sha256(folder / SIGNATURE)}  {SIGNATURE}\n"
    if not sum_file.is_file() or sum_file.read_bytes() != line.encode():
        return [_check(what, False, f"{SIGNATURE} or {SIGNATURE_SUM} was altered")]
    if not wanted:
        return [_check(what, None, "name the signer's --key, or the --certificate of its issuer, to check it")]
    problem = signature_problem(folder, key, certificates)
    issuers = ", ".join(map(str, certificates))
    by = f"by the holder of {key}" if key else f"by one whose certificate {issuers} has issued"
    return [_check(what, problem is None, problem or by)]


def _judged(what: str, problems: Sequence[str], found: str = "") -> Check:
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return _check(what, not problems, "; ".join(problems[:_SHOWN]) + more if problems else found)


def _check(what: str, passed: bool | None, found: str) -> Check:
    return Check(what=what, passed=passed, found=found)
