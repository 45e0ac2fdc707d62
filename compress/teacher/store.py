"""The store of a teacher's outputs: shards in safetensors, and an index with their hashes; read memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import safe_open
from torch import Tensor

from compress.console import say
from compress.contract import Contract
from compress.errors import CompressError
from compress.files import read_limited
from compress.runs.files import atomic_file, content_hash, file_sha256, write_json

BOOKKEEPING = ("offsets", "rows")
_INDEX = "index.json"
_LARGEST_INDEX = 64_000_000  # bytes


class Shard(Contract):
    """One file of outputs; without a hash until it was made."""

    file: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.safetensors$")]  # beside the index, never elsewhere
    sha256: str | None = None
    bytes: int = 0


class OutputsIndex(Contract):
    """Which shards there are, and how examples lie in them."""

    examples: int
    examples_per_shard: int
    per_token: list[str] = Field(description="outputs of which each element of an example has its own")
    shards: list[Shard]
    digest: str = Field("", description="of all else: an index that was altered is none")

    def sealed(self) -> OutputsIndex:
        """The same with its digest."""
        return self.model_copy(update={"digest": content_hash(self.model_dump(mode="json", exclude={"digest"}))})

    def with_shard(self, number: int, shard: Shard) -> OutputsIndex:
        """The same with another shard at a place."""
        return self.model_copy(update={"shards": [*self.shards[:number], shard, *self.shards[number + 1 :]]})


def read_index(folder: Path) -> OutputsIndex | None:
    """The index of a store; none where it is missing or damaged."""
    try:
        index = OutputsIndex.model_validate_json(read_limited(folder / _INDEX, _LARGEST_INDEX), strict=True)
    except (OSError, CompressError, ValidationError):
        return None
    return index if index.sealed() == index else None


def write_index(folder: Path, index: OutputsIndex) -> None:
    """Put an index in the place of the one that is there."""
    with atomic_file(folder / _INDEX) as partial:
        write_json(partial, index.sealed().model_dump(mode="json"))


def is_intact(folder: Path, shard: Shard) -> bool:
    """Whether a shard is there as it was written."""
    path = folder / shard.file
    if shard.sha256 is None:
        return False
    if path.is_file() and path.stat().st_size == shard.bytes and file_sha256(path) == shard.sha256:
        return True
    say(f"cache: {path} is damaged or missing; making it again")
    return False


class TeacherOutputs:
    """The teacher's outputs on its examples, in memory-mapped shards.

    A shard holds the outputs for whole examples, ``logits`` (examples, labels) and ``sentence`` (examples, width), and
    those for their elements, of all examples one after the other: signals (tokens, layers, width) and the ``logits`` of
    some tasks (tokens, labels). Example ``i`` lies from ``offsets[i]`` to ``offsets[i + 1]``; ``rows[i]`` is the number
    of the row that it is from. Where text is written, the elements are the tokens of the translation, of whose
    ``logits`` the largest are kept, and which ``classes`` those are, both (tokens, kept).
    """

    def __init__(self, folder: Path, index: OutputsIndex):
        self._examples_per_shard = index.examples_per_shard
        self._per_token = index.per_token
        self._paths = [folder / shard.file for shard in index.shards]
        self._opened: dict[int, dict[str, Tensor]] = {}

    def logits(self) -> np.ndarray:
        """All logits, float32 (examples, labels), where they are for whole examples."""
        return self._whole("logits").float().numpy()

    def logits_of(self, examples: Sequence[int]) -> Tensor:
        """The logits of some, float32 (examples, labels), where they are for whole examples."""
        return self._gathered("logits", [divmod(one, self._examples_per_shard) for one in examples], 0).float()

    def rows(self) -> np.ndarray:
        """For each example the number of the row that it is from, int64 (examples,), rising."""
        return self._whole("rows").numpy()

    def batch(self, examples: Sequence[int], tokens: int) -> dict[str, Tensor]:
        """The outputs for a batch, float32 (classes: int64), those of elements padded with zeros to ``tokens``."""
        places = [divmod(example, self._examples_per_shard) for example in examples]
        names = [name for name in self._shard(places[0][0]) if name not in BOOKKEEPING]
        gathered = {name: self._gathered(name, places, tokens) for name in names}
        return {name: found.float() if found.is_floating_point() else found.long() for name, found in gathered.items()}

    def _gathered(self, name: str, places: list[tuple[int, int]], tokens: int) -> Tensor:
        if name not in self._per_token:
            return torch.stack([self._shard(number)[name][example] for number, example in places])
        shape, dtype = self._shard(places[0][0])[name].shape[1:], self._shard(places[0][0])[name].dtype
        gathered = torch.zeros(len(places), tokens, *shape, dtype=dtype)
        for position, (number, example) in enumerate(places):
            shard = self._shard(number)
            states = shard[name][shard["offsets"][example].item() : shard["offsets"][example + 1].item()]
            gathered[position, : len(states)] = states
        return gathered

    def _whole(self, name: str) -> Tensor:
        return torch.cat([self._shard(number)[name] for number in range(len(self._paths))])

    def _shard(self, number: int) -> dict[str, Tensor]:
        if number not in self._opened:
            with safe_open(self._paths[number], "pt") as file:  # tensors are views of the mapped file
                self._opened[number] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return self._opened[number]
