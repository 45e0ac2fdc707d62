"""Distil, export, quantise and verify multilingual transformers for serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.serving.client import Model

# ONNX Runtime reports its use to Microsoft unless this is set before it is imported. Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(bundle: str | Path, model: str | None = None, threads: int | None = None) -> Model:
    """Open a model of a bundle: ``load(bundle).predict(texts)``.

    :param bundle: The bundle's folder, or the folder of one of its models.
    :param model: Which model; none: the first of the bundle's that can run here.
    :param threads: Threads of one run; none for the runtime's own choice.
    :raises CompressError: If there is no such model, or it cannot run here.
    """
    from compress.serving.client import open_model

    return open_model(Path(bundle), model, threads)


def __getattr__(name: str) -> str:
    """``__version__``, from the package's metadata, which is looked up only where somebody asks."""
    if name == "__version__":
        from compress.runs.versions import program_version

        return program_version()
    raise AttributeError(f"module 'compress' has no attribute {name!r}")
