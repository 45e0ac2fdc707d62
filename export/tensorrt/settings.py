"""What follows from the rest of a recipe where the options of engines are left open."""

from __future__ import annotations

from pathlib import Path

from compress.recipe.export import TensorRT
from compress.runtimes.tensorrt import EngineBuilder, gpu_name
from compress.targets import Target
from export.tensorrt.profiles import short_and_long


def resolved(settings: TensorRT, longest: int, target: Target | None = None) -> TensorRT:
    """The options with what follows from the rest of the recipe where they leave it open.

    :param longest: Tokens of the longest row, from which the profiles follow.
    :param target: If it is a GPU, it decides the generation.
    """
    found: dict[str, object] = {}
    if settings.profiles is None:
        found["profiles"] = short_and_long(longest)
    if settings.sm is None and target is not None and target.generation is not None:
        found["sm"] = [target.generation]
    return settings.model_copy(update=found)


def timing_cache(builder: EngineBuilder, output: Path) -> Path | None:
    """Where the native builder keeps what it timed: one file for each GPU and version."""
    if builder.ahead_of_time:
        return None
    gpu = (gpu_name() or "").replace(" ", "-")
    return output / ".cache" / "timing" / f"{gpu}-{builder.version}.cache"
