"""Versions that are recorded with every stage."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata

_RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript",
                      "openvino", "babel", "tensorrt", "tensorrt-rtx-cu13-bindings")  # fmt: skip


def program_version() -> str:
    """The version of this program, from its package's metadata."""
    return metadata.version("compress-export")


def recorded_versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that shape the outputs."""
    versions = {"compress": program_version(), "python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
