"""What stands beside a TensorRT engine: how it was built, for what, and how it can be built again."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError

from compress.contract import Contract
from compress.errors import CompressError, first_problem
from compress.files import read_limited
from compress.variants.registry import EnginePrecision

_LARGEST = 1_000_000  # bytes


class BatchAndLength(Contract):
    """One edge of a profile."""

    batch: int
    length: int


class ProfileRange(Contract):
    """Shapes that an engine takes, and those that it is tuned for."""

    minimum: BatchAndLength
    optimum: BatchAndLength
    maximum: BatchAndLength


class EngineOptions(Contract):
    """Options that it was built with; as in the recipe's section."""

    workspace_mb: int | None
    optimization_level: int | None
    version_compatible: bool
    hardware_compatible: bool
    refit: bool
    strip_weights: bool


class EngineTensor(Contract):
    """An input or output; sizes that vary are -1."""

    name: str
    type: str
    shape: list[int]


class EngineSidecar(Contract):
    """The description beside an engine."""

    engine: str = Field(description="name of its file")
    builder: str
    version: str
    ahead_of_time: bool
    gpu: str | None = Field(description="that it was built on; null: ahead of time")
    sm: list[int] = Field(description="GPU generations that it runs on")
    precision: EnginePrecision
    profiles: list[ProfileRange]
    options: EngineOptions
    inputs: list[EngineTensor]
    outputs: list[EngineTensor]
    bytes: int
    sha256: str
    parent: str = Field(description="variant or folder of the graph that it was built from")
    parent_sha256: str
    rebuild: str = Field(description="command that builds the same again")
    trtexec: str = Field(description="the same with NVIDIA's tool")

    @property
    def generations(self) -> str:
        """The GPU generations, for people."""
        return ", ".join(f"sm{sm}" for sm in self.sm)

    @property
    def largest_batch(self) -> int:
        """Rows that every profile takes."""
        return min(profile.maximum.batch for profile in self.profiles)


def read_sidecar(engine: Path) -> EngineSidecar:
    """The description beside an engine.

    :raises CompressError: If it is missing or not as it must be.
    """
    path = engine.with_suffix(".json")
    try:
        return EngineSidecar.model_validate_json(read_limited(path, _LARGEST))
    except OSError as error:
        raise CompressError(f"{path}: cannot be read ({error.strerror}); build the engine again") from error
    except ValidationError as error:
        raise CompressError(f"{path}: not as it must be: {first_problem(error)}; build the engine again") from error
