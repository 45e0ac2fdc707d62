"""Bundles as folders: altered, and altered by somebody who has packed them again with right hashes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from attempts import Refusal, Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_file, altered_folder

from compress.cli import commands
from compress.runs.files import file_sha256
from compress.serving.format import NOT_IN_MANIFEST, BundleFile, read_bundle_manifest

_PACKED_AGAIN = "packed-again"


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def verified(bundle: Path, key: Path | None = None, unpack_to: Path | None = None) -> None:
    """What `compress verify` does, printing included.

    :raises Refusal: If a check fails.
    """
    found = commands.verify(bundle, key, [], unpack_to, False)
    failed = [check.found for check in found.checks if check.passed is False]
    if failed:
        raise Refusal(f"{bundle}: {failed[0]}")


def ask(folder: Path, original: Path) -> None:
    """Check the bundle, and compare what passes with what was packed."""
    verified(folder / "bundle")
    if not (folder / _PACKED_AGAIN).exists() and contents(folder / "bundle") != contents(original):
        raise WrongAnswer("an altered bundle passes")


def packed_again(bundle: Path) -> None:
    """Write the manifest anew, as somebody could who means harm and has no key."""
    for name in NOT_IN_MANIFEST[1:]:
        (bundle / name).unlink(missing_ok=True)
    files = [
        BundleFile(
            path=path.relative_to(bundle).as_posix(), role="model", sha256=file_sha256(path), bytes=path.stat().st_size
        )
        for path in sorted(bundle.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != "manifest.json"
    ]
    manifest = read_bundle_manifest(bundle).model_copy(update={"files": files})
    (bundle / "manifest.json").write_text(manifest.sealed().as_text(), "utf-8")
    (bundle.parent / _PACKED_AGAIN).touch()


def draw(random_: random.Random, folder: Path, original: Path) -> str:
    """One to three files altered; sometimes with right hashes."""
    if random_.random() < 0.5:
        return altered_folder(random_, folder / "bundle", original, random_.choice((1, 1, 3)))
    shutil.copytree(original, folder / "bundle")
    files = [path for path in sorted((folder / "bundle").rglob("*")) if path.is_file()]
    words = altered_file(random_, random_.choice([path for path in files if path.name not in NOT_IN_MANIFEST]))
    if any(path.is_file() and path.stat().st_size > 2**30 for path in files):
        return f"{words}, too large to be packed again"
    packed_again(folder / "bundle")
    return f"{words}, packed again"


def _deep_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").write_text(DEEP, "utf-8")


def _strange_name(bundle: Path) -> None:
    (bundle / "[red]\x1b[31m\n.md").write_text("x", "utf-8")


def _name_in_markup(bundle: Path) -> None:
    (bundle / "[").mkdir()
    (bundle / "[" / "].md").write_text("x", "utf-8")


def _name_without_meaning(bundle: Path) -> None:
    (Path(os.fsdecode(os.fsencode(bundle) + b"/\xff\xfe.md"))).write_text("x", "utf-8")


def _pipe_beside(bundle: Path) -> None:
    os.mkfifo(bundle / "pipe")


def _outside(bundle: Path) -> None:
    content = json.loads((bundle / "manifest.json").read_text("utf-8"))
    content["models"][0]["folder"] = "../outside"
    (bundle / "manifest.json").write_text(json.dumps(content), "utf-8")


def _without(name: str) -> Callable[[Path], None]:
    def without(bundle: Path) -> None:
        (bundle / "models/cpu/onnx/1" / name).unlink()
        packed_again(bundle)

    return without


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        (bundle / name).write_bytes(content)
        packed_again(bundle)

    return write


def _tokenizer(**changes: object) -> Callable[[Path], None]:
    def change(bundle: Path) -> None:
        path = bundle / "models/cpu/onnx/1/tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")
        packed_again(bundle)

    return change


def _replaced(replace: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda bundle: replace(bundle / "manifest.json")


CASES: dict[str, Callable[[Path], None]] = {
    "a manifest of deep nesting": _deep_manifest,
    "a name of escapes": _strange_name,
    "a name in markup": _name_in_markup,
    "a name that is not UTF-8": _name_without_meaning,
    "a pipe": _pipe_beside,
    "a model outside": _outside,
    "without a graph": _without("model.onnx"),
    "without a tokenizer": _without("tokenizer.json"),
    "without a configuration of the tokenizer": _without("tokenizer_config.json"),
    "without a configuration": _without("config.json"),
    "without a description": _without("compress.json"),
    "a canary of deep nesting": _written("canary.json", DEEP.encode()),
    "a canary without rows": _written("canary.json", b'{"schema": 1, "recorded_on": "a", "rows": [], "models": {}}'),
    "a pickle": _written("models/cpu/onnx/1/weights.bin", b"\x80\x04K\x01."),
    "a tokenizer that panics": _tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}),
    "a tokenizer that eats memory": _tokenizer(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "1"}, "content": "1" * 1000}] * 6,
        }
    ),
    "a tokenizer without end": _tokenizer(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a|1|.)*(.*)*x"}, "behavior": "Removed", "invert": False}
    ),
    **{f"in place of the manifest: {name}": _replaced(put) for name, put in REPLACEMENTS.items()},
}
EITHER = ("without a configuration", "without a configuration of the tokenizer", "a canary without rows")
"""What need not matter: a tokenizer that does the same passes."""


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], None]) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(material.bundle, folder / "bundle")
            alter(folder / "bundle")

        return spoil

    cases: dict[str, tuple[Spoil, Wants]] = {
        name: (case(alter), "either" if name in EITHER else "refused") for name, alter in CASES.items()
    }
    cases["unaltered"] = (case(lambda bundle: None), "accepted")
    return Surface(
        "bundles",
        lambda folder: ask(folder, material.bundle),
        cases,
        lambda random_, folder: draw(random_, folder, material.bundle),
        draws=500,
    )
