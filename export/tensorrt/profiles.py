"""Shapes of engines: what a profile means for each input, and the same as commands that build the engine again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from compress.errors import CompressError
from compress.recipe.export import Profile, TensorRT

Edges = tuple[int, int, int]
_MATRIX = 2  # an input with so many axes is (batch, length)


def parse_profile(text: str) -> dict[str, list[int]]:
    """A profile as it is written on the command line, ``1:8:32,1:32:64``: batch, then length.

    :raises CompressError: If it is written in another way.
    """
    try:
        batch, length = ([int(number) for number in part.split(":")] for part in text.split(","))
        if len(batch) == len(length) == len(("minimum", "optimum", "maximum")):
            return {"batch": batch, "length": length}
    except ValueError:
        pass
    raise CompressError(
        f"--profile {text}: expected minimum:optimum:maximum of batch and length, for example --profile 1:8:32,1:32:64"
    )


def short_and_long(longest: int) -> list[Profile]:
    """Two profiles, for texts up to half of the longest and for the others: each is tuned for its own lengths."""
    half = longest // 2
    return [Profile(length=(1, max(1, half // 2), half)), Profile(length=(half, (half + longest) // 2, longest))]


@dataclass(frozen=True)
class Input:
    """An input of a graph: sizes of its axes, -1 where they vary, and the names of those that do."""

    name: str
    shape: list[int]
    axis_names: list[str]

    def ranges(self, profile: Profile) -> list[Edges]:
        """Minimum, optimum and maximum of each axis.

        The first axis is the batch, unless its name says that it is a length; any other that varies is a length.
        """
        return [
            (size, size, size) if size >= 0 else profile.batch if self.is_batch(axis) else profile.length
            for axis, size in enumerate(self.shape)
        ]

    def is_batch(self, axis: int) -> bool:
        """Whether the axis runs over the rows."""
        name = self.axis_names[axis].lower()
        return "batch" in name or (axis == 0 and "len" not in name and "seq" not in name)


def check_axes(graph: Path, inputs: list[Input], profile: Profile) -> None:
    """Refuse a graph in which an axis that the profile is about does not vary.

    One input may have a fixed length beside others: decoders with a past read one token.

    :raises CompressError: Naming the input, the axis and its size.
    """
    lengths_vary = any(size < 0 for value in inputs for size in value.shape[1:])
    for value in inputs:
        for axis, what, wanted in ((0, "batch", profile.batch), (1, "length", profile.length)):
            fixed = len(value.shape) == _MATRIX and value.shape[axis] >= 0 and set(wanted) != {value.shape[axis]}
            if fixed and not (axis == 1 and lengths_vary):
                size = value.shape[axis]
                raise CompressError(
                    f"{graph}: input '{value.name}' has a fixed {what} of {size} (axis {axis}), the profile wants "
                    f"{wanted[0]} to {wanted[2]}; export it with dynamic axes, or ask for {size}:{size}:{size}"
                )


def rebuild_command(graph: str, precision: str, settings: TensorRT) -> str:
    """The command that builds the same engine from its ONNX, on whatever machine it is given."""
    parts = ["compress", "export", "--onnx", graph, "--trt", "--precision", precision]
    for profile in settings.profiles or ():
        parts += ["--profile", ",".join(":".join(map(str, edges)) for edges in (profile.batch, profile.length))]
    if settings.sm:
        parts += ["--sm", ",".join(map(str, settings.sm))]
    for name, value in settings.model_dump(exclude={"enabled", "precisions", "profiles", "sm"}).items():
        if value not in (None, False):
            parts += ["--set", f"export.tensorrt.{name}={str(value).lower()}"]
    return shlex.join(parts)


def trtexec_command(graph: str, engine: str, inputs: list[Input], settings: TensorRT) -> str:
    """The same for NVIDIA's own tool, which builds for the GPU that is present."""
    parts = ["trtexec", f"--onnx={graph}", f"--saveEngine={engine}", "--stronglyTyped"]
    profiles = settings.profiles or []
    for number, profile in enumerate(profiles):
        if len(profiles) > 1:
            parts.append(f"--profile={number}")
        ranges = {value.name: value.ranges(profile) for value in inputs}
        for edge, option in enumerate(("minShapes", "optShapes", "maxShapes")):
            shapes = [f"{name}:{'x'.join(str(axis[edge]) for axis in axes)}" for name, axes in ranges.items()]
            parts.append(f"--{option}={','.join(shapes)}")
    if settings.workspace_mb:
        parts.append(f"--memPoolSize=workspace:{settings.workspace_mb}")
    if settings.optimization_level is not None:
        parts.append(f"--builderOptimizationLevel={settings.optimization_level}")
    switches = {
        "--versionCompatible": settings.version_compatible,
        "--hardwareCompatibilityLevel=ampere+": settings.hardware_compatible,
        "--refit": settings.refit,
        "--stripWeights": settings.strip_weights,
    }
    return shlex.join([*parts, *(switch for switch, wanted in switches.items() if wanted)])
