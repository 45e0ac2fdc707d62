"""What a bundle's manifest says of a model."""

from __future__ import annotations

from compress.recipe.export import Tolerance
from compress.serving.format import BundleModel


def bundled(name: str, parent: str, target: str) -> BundleModel:
    """A measured model for ONNX Runtime."""
    return BundleModel(
        name=name,
        folder=f"models/cpu/{name}/1",
        runtime="ONNX Runtime",
        target=target,
        bytes=1,
        parent=parent,
        measured=True,
        parity=None,
        tolerance=Tolerance(max_difference=1, agreement=1),
        versions={},
    )
