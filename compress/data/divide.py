"""One file becomes three splits: rows about the same stay together, so that no test row was seen in training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import CompressError
from compress.tasks.contract import SplitBy
from compress.tasks.rows import Row

RawRow = tuple[str, Mapping[str, Any]]
"""Where the row stands ("file:line"), and its fields."""

SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
MEASURING_SHARES: Mapping[str, float] = {"train": 0.2, "validation": 0.3, "test": 0.5}
"""Where nothing is trained: rows to calibrate with, to choose with and to measure on."""
_LARGE = 0.05  # groups with more of the rows go into the train split, which has the room


def divided(
    path: Path,
    seed: int,
    read: Callable[[Path], Iterable[RawRow]],
    row_of: Callable[[RawRow], Row | None],
    together: SplitBy,
    shares: Mapping[str, float] = SHARES,
) -> dict[str, Iterable[RawRow]]:
    """Divide the rows of a single file, which is read once for each split.

    Rows with the same value of ``together``, or of ``parallel``, fall into the same split.

    :param together: The part of a row that tells which rows have been seen.
    :param shares: Of the rows, by split.
    :raises CompressError: Naming a row that cannot be read, or if too few rows are apart from one another.
    """
    groups = _groups(map(row_of, read(path)), together)
    if not len(groups):
        raise CompressError(f"{path}: there are no rows; name a file that has some")
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(sizes[order] <= _LARGE * len(groups), kind="stable")]
    before = np.cumsum(sizes[order]) - sizes[order]
    ends = np.round(np.cumsum(list(shares.values())) * len(groups))
    split_of_group = np.empty(len(sizes), dtype=np.int8)
    split_of_group[order] = np.searchsorted(ends[:-1], before, side="right")
    home = split_of_group[groups]
    if len(np.unique(home)) < len(shares):
        raise CompressError(
            f"{path}: {len(groups)} rows of {len(sizes)} values of data.fields.{together}, or of data.fields.parallel, "
            "are too few to divide into train, validation and test; give a file for each"
        )

    def rows_of(number: int) -> Iterator[RawRow]:
        return (row for row, split in zip(read(path), home, strict=True) if split == number)

    return {split: rows_of(number) for number, split in enumerate(shares)}


def _groups(rows: Iterable[Row | None], together: SplitBy) -> np.ndarray:
    """For each row the number of its group, int (rows,): rows that share this part or are parallel, over others too."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[int, int] = {}
    one: list[int] = []
    other: list[int] = []
    count = 0
    for count, row in enumerate(rows, 1):
        if row is None:
            continue
        keys = [(together, str(getattr(row, together))), *([("parallel", row.parallel)] if row.parallel else [])]
        one += [count - 1] * len(keys)
        other += [numbers.setdefault(hash(key), len(numbers)) for key in keys]  # 64 bits in place of the text
    if not count:
        return np.zeros(0, dtype=int)
    # A graph with a node for each row and, after those, one for each text and each value of `parallel`.
    nodes = count + len(numbers)
    joined = coo_array((np.ones(len(one), dtype=np.int8), (one, np.add(other, count, dtype=int))), shape=(nodes, nodes))
    _, components = connected_components(joined, directed=False)
    return np.unique(components[:count], return_inverse=True)[1]
