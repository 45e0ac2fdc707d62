"""The JavaScript libraries of the page: taken from npm when a folder is packed, checked against their known hashes."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from compress.errors import CompressError, UnavailableError

_SECONDS = 600
_OLDEST_NODE = 20


@dataclass(frozen=True)
class Library:
    """A package of npm: its name with its version, the SHA-512 of its archive as npm writes it, and the files to take
    from it, by the names that they get."""

    package: str
    integrity: str
    files: Mapping[str, str]


LIBRARIES = (
    Library(
        "@huggingface/transformers@4.3.2",
        "V3+dqf3iWlRYJ9I9GreM3zGQd0lAXnnoPeddmkOQYWAEE4l/+Fi6p7tx/qVUJlKQgLXGim2W76rTOzz+eC0i7g==",
        {"transformers.min.js": "dist/transformers.min.js", "LICENSE.transformers": "LICENSE"},
    ),
    # The version that this transformers.js names. For WebGPU, a page loads a form that is twice as large.
    Library(
        "onnxruntime-web@1.31.0-dev.20260914-8d85527a0",
        "Iy7rtadoBgxS/LLvDr3QW38DB1PNXRnr0GJMcL0TAt7c9qjgVQl83UlGCVyeAnK2InpmW8Uc3PL8XIuqtDeF6g==",
        {
            "ort-wasm-simd-threaded.mjs": "dist/ort-wasm-simd-threaded.mjs",
            "ort-wasm-simd-threaded.wasm": "dist/ort-wasm-simd-threaded.wasm",
            "ort-wasm-simd-threaded.asyncify.mjs": "dist/ort-wasm-simd-threaded.asyncify.mjs",
            "ort-wasm-simd-threaded.asyncify.wasm": "dist/ort-wasm-simd-threaded.asyncify.wasm",
        },
    ),
)


def check_node() -> None:
    """:raises UnavailableError: If there is no Node.js with npm, which packing takes the page's libraries from, or one
    older than the page is written for."""
    if missing := [name for name in ("node", "npm") if shutil.which(name) is None]:
        raise UnavailableError(
            f"--web: needs {' and '.join(missing)}, which is not installed: the page's libraries come from npm; "
            f"install Node.js {_OLDEST_NODE} or later (apt install nodejs npm), or pack without --web"
        )
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=_SECONDS).stdout.strip()  # noqa: S607
    if not (found := re.match(r"v(\d+)\.", told)) or int(found[1]) < _OLDEST_NODE:
        raise UnavailableError(f"--web: needs Node.js {_OLDEST_NODE} or later, and node --version says {told!r:.80}")


def add_libraries(folder: Path) -> None:
    """Put the libraries' files into a folder.

    :raises CompressError: If npm cannot be reached and has not kept them, or gives other files than these were.
    """
    for library in LIBRARIES:
        with TemporaryDirectory(prefix="compress-web-") as scratch:
            archive = _fetched(library, Path(scratch))
            with tarfile.open(archive) as packed:
                for name, inside in library.files.items():
                    content = packed.extractfile(f"package/{inside}")
                    if content is None:
                        raise CompressError(f"--web: {library.package} has no file {inside}; report this")
                    with (folder / name).open("wb") as file:
                        shutil.copyfileobj(content, file)


def _fetched(library: Library, scratch: Path) -> Path:
    command = ["npm", "pack", library.package, "--silent", "--prefer-offline", "--ignore-scripts"]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "--pack-destination", str(scratch)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            cwd=scratch,
        )
    except subprocess.TimeoutExpired:
        done = None
    archives = list(scratch.glob("*.tgz"))
    if done is None or done.returncode or len(archives) != 1:
        words = (done.stderr.strip().splitlines() if done else []) or ["no answer"]
        raise UnavailableError(
            f"--web: npm does not give {library.package} ({words[-1]:.200}); try again where its registry is reached"
        )
    found = base64.b64encode(hashlib.sha512(archives[0].read_bytes()).digest()).decode()
    if found != library.integrity:
        raise CompressError(f"--web: npm gives another {library.package} than is known (SHA-512); check its registry")
    return archives[0]
