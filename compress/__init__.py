"""Distil, export, quantise and verify multilingual transformers for serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.serving.client import Model

# ONNX Runtime reports its use to Microsoft unless this is set before it is imported. Whoever wants that sets it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def load(bundle: str | Path, model: str | None = None, threads: int | None = None, memory: int | None = None) -> Model:
    """Open a model of a bundle: ``load(bundle).predict(texts)``.

    :param bundle: The bundle's folder, or the folder of one of its models.
    :param model: Which model; none: the first of the bundle's that can run here.
    :param threads: Threads of one run; none for as many as a container's quota and the affinity leave.
    :param memory: Bytes that this process may come to hold, libraries and model included: batches have as many tokens
        as that leaves room for, by what one row of the longest kind is seen to take, and run one after the other. None
        for no bound.
    :raises CompressError: If there is no such model, it cannot run here, or its memory does not hold it.
    """
    from compress.serving.client import open_model

    return open_model(Path(bundle), model, threads, memory)


def __getattr__(name: str) -> str:
    """``__version__``, from the package's metadata, which is looked up only where somebody asks."""
    if name == "__version__":
        from compress.runs.versions import program_version

        return program_version()
    raise AttributeError(f"module 'compress' has no attribute {name!r}")
