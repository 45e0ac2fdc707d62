"""Shapes of engines: what a profile means for each input, and the same as commands that build the engine again."""

from __future__ import annotations

from pathlib import Path

from compress.errors import CompressError
from compress.recipe_export import Profile, TensorRT

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


def shape_range(graph: Path, name: str, shape: list[int], axis_names: list[str], axis: int, profile: Profile) -> Edges:
    """Minimum, optimum and maximum of one axis of an input.

    The first axis is the batch, unless it has another name; any other that varies is a length.

    :param shape: Sizes, -1 where they vary.
    :param axis_names: Names of the axes that vary.
    :raises CompressError: If an axis that the profile is about does not vary.
    """
    wanted = profile.batch if _is_batch(axis, axis_names[axis]) else profile.length
    size = shape[axis]
    if size < 0:
        return wanted
    if len(shape) == _MATRIX and set(wanted) != {size}:
        what = "batch" if axis == 0 else "length"
        raise CompressError(
            f"{graph}: input '{name}' has a fixed {what} of {size} (axis {axis}), the profile wants "
            f"{wanted[0]} to {wanted[2]}; export it with dynamic axes, or ask for {size}:{size}:{size}"
        )
    return size, size, size


def rebuild_command(graph: str, precision: str, settings: TensorRT) -> str:
    """The command that builds the same engine from its ONNX, on whatever machine it is given."""
    parts = ["compress export --onnx", graph, "--trt --precision", precision]
    for profile in settings.profiles:
        parts += ["--profile", ",".join(":".join(map(str, edges)) for edges in (profile.batch, profile.length))]
    if settings.sm:
        parts += ["--sm", ",".join(map(str, settings.sm))]
    for name, value in settings.model_dump(exclude={"enabled", "precisions", "profiles", "sm"}).items():
        if value not in (None, False):
            parts += ["--set", f"export.tensorrt.{name}={str(value).lower()}"]
    return " ".join(parts)


def trtexec_command(graph: str, engine: str, inputs: list[tuple[str, list[int], list[str]]], settings: TensorRT) -> str:
    """The same for NVIDIA's own tool, which builds for the GPU that is present.

    :param inputs: Name, shape and names of the axes that vary, for each input.
    """
    parts = [f"trtexec --onnx={graph} --saveEngine={engine} --stronglyTyped"]
    for number, profile in enumerate(settings.profiles):
        if len(settings.profiles) > 1:
            parts.append(f"--profile={number}")
        for edge, option in enumerate(("minShapes", "optShapes", "maxShapes")):
            specifications = []
            for name, shape, names in inputs:
                sizes = [
                    size if size >= 0 else (profile.batch if _is_batch(axis, names[axis]) else profile.length)[edge]
                    for axis, size in enumerate(shape)
                ]
                specifications.append(f"{name}:{'x'.join(map(str, sizes))}")
            parts.append(f"--{option}={','.join(specifications)}")
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
    return " ".join([*parts, *(switch for switch, wanted in switches.items() if wanted)])


def _is_batch(axis: int, name: str) -> bool:
    return "batch" in name.lower() or (axis == 0 and "len" not in name.lower() and "seq" not in name.lower())
