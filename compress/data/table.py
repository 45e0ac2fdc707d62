"""Rows that may be more than memory holds: memory-mapped Arrow tables of the datasets library, as plain sequences."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from compress.data.encode import spread_over_groups, spread_over_languages
from compress.errors import CompressError
from compress.runs.files import file_sha256
from compress.tasks.contract import Encode, Example, Task
from compress.tasks.rows import Row, row_as_dict

if TYPE_CHECKING:
    from datasets import Dataset, Features

_BATCH = 1000


class RowTable(Sequence[Row]):
    """Rows of a split on disk, read when they are asked for."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset

    @classmethod
    def open(cls, path: Path, store: Path) -> RowTable:
        """Map a JSON Lines file of our rows.

        :param store: Folder for the Arrow form of the file, which is made once.
        :raises CompressError: If it is not as it was written.
        """
        from datasets import Dataset
        from datasets.exceptions import DatasetGenerationError

        try:
            features, told = _features(next(_written(path))), {"path": path, "sha256": file_sha256(path)}
        except (OSError, ValueError, TypeError, StopIteration) as error:
            raise damaged(path) from error
        try:  # types are told: those that the library makes of values turn texts that look like dates into dates
            return cls(Dataset.from_generator(_written, features, cache_dir=str(store), gen_kwargs=told))
        except DatasetGenerationError as error:
            if isinstance(error.__cause__, OSError):  # a disk that is full
                raise
            raise damaged(path) from error

    @classmethod
    def joined(cls, tables: Sequence[RowTable]) -> RowTable:
        """Several tables, one after the other."""
        from datasets import concatenate_datasets

        return tables[0] if len(tables) == 1 else cls(concatenate_datasets([table._dataset for table in tables]))

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> RowTable:
        """A table in memory."""
        from datasets import Dataset

        content = [row_as_dict(row) for row in rows]
        return cls(Dataset.from_list(content, _features(content[0])))

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> RowTable: ...
    def __getitem__(self, index: int | slice) -> Row | RowTable:
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        return Row(**self._dataset[index])

    def __iter__(self) -> Iterator[Row]:
        for batch in self._dataset.iter(_BATCH):
            yield from rows_of(batch)

    def select(self, indices: Sequence[int] | np.ndarray) -> RowTable:
        """The rows at these places."""
        return RowTable(self._dataset.select(indices))

    def in_languages(self, languages: Sequence[str] | None) -> RowTable:
        """The rows in the wanted languages (none: all)."""
        return self if languages is None else self.select(np.flatnonzero(np.isin(self.column("lang"), list(languages))))

    def drawn(self, task: Task, count: int, seed: int) -> RowTable:
        """So many rows (or all), evenly over the languages; where passages are held against others of the same query,
        whole queries with about so many."""
        languages = self.column("lang")
        if task.RANKS:
            return self.select(spread_over_groups(languages, self.column("text"), count, seed))
        return self.select(spread_over_languages(languages, count, seed))

    def divided(self, parts: Callable[[Row], Sequence[Row]], whose: Callable[[Row], object]) -> RowTable:
        """The texts of all rows as rows of their own, in their order; of those that are the same the first.

        :param parts: Of a row: each has one text, and no label.
        :param whose: What makes two parts the same.
        """
        seen: set[bytes] = set()

        def part(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            kept = []
            for row in (own for whole in rows_of(batch) for own in parts(whole)):
                digest = blake2b(repr(whose(row)).encode(), digest_size=16).digest()
                if digest not in seen:
                    seen.add(digest)
                    kept.append(row_as_dict(row))
            return {name: [row.get(name) for row in kept] for name in fields}

        present = {**dict.fromkeys(self._dataset.column_names), **row_as_dict(parts(self[0])[0])}
        fields = {name: "" for name in present if name != "text_pair"}
        how: dict[str, Any] = {"features": _features(fields), "load_from_cache_file": False, "batch_size": _BATCH}
        return RowTable(self._dataset.map(part, batched=True, remove_columns=self._dataset.column_names, **how))

    def column(self, name: str) -> np.ndarray:
        """One field of all rows; empty where a row lacks it."""
        column = np.full(len(self), "", dtype=object)
        if name in self._dataset.column_names:
            column[:] = ["" if value is None else value for value in self._dataset[name][:]]
        return column

    def encoded(self, encode: Encode, file: Path) -> EncodedTable:
        """Tokenise all rows.

        :param file: Where the examples are written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)

        def tokenised(batch: dict[str, list[Any]], numbers: list[int]) -> dict[str, list[Any]]:
            examples = encode(list(rows_of(batch)))
            columns = {name: [example[name] for example in examples] for name in examples[0]}
            return {**columns, "row": [numbers[row] for row in columns["row"]]}

        dataset = self._dataset.map(
            tokenised,
            with_indices=True,
            batched=True,
            batch_size=_BATCH,
            remove_columns=self._dataset.column_names,
            cache_file_name=str(file),
            load_from_cache_file=False,
        )
        return EncodedTable(dataset)


class EncodedTable(Sequence[Example]):
    """Examples on disk; in memory the number of tokens of each, and of the row that it is from."""

    def __init__(self, dataset: Dataset):
        self._dataset = dataset
        self.lengths = self.lengths_of("input_ids")
        self.rows = np.array(dataset["row"][:])

    def lengths_of(self, name: str) -> np.ndarray:
        """Elements of a list that each example has."""
        import pyarrow.compute

        column = self._dataset.with_format("arrow")[name][:]
        return np.asarray(pyarrow.compute.list_value_length(column).to_numpy())

    def values_of(self, name: str) -> np.ndarray:
        """What a list of all examples holds, one after the other."""
        import pyarrow.compute

        column = self._dataset.with_format("arrow")[name][:]
        return np.asarray(pyarrow.compute.list_flatten(column).to_numpy())

    def __len__(self) -> int:
        return len(self._dataset)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return self.at(range(len(self))[index])
        example: Example = self._dataset[index]
        return example

    def select(self, indices: np.ndarray) -> EncodedTable:
        """The examples at these places, in this order."""
        return EncodedTable(self._dataset.select(indices))

    def at(self, indices: Sequence[int]) -> list[Example]:
        """Examples at these places, read together."""
        columns = self._dataset[list(indices)]
        return [{name: values[place] for name, values in columns.items()} for place in range(len(indices))]


def damaged(path: Path) -> CompressError:
    """What is said of a file of a stage that is not as it was written."""
    return CompressError(f"{path}: damaged or missing; delete {path.parent} and run the command again")


def _written(path: Path, sha256: str = "") -> Iterator[dict[str, Any]]:
    """Rows of a file that the data stage has written.

    :param sha256: Of the file: another one is read anew.
    """
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield row_as_dict(Row(**json.loads(line)))


def _features(row: Mapping[str, Any]) -> Features:
    """The types of a row's fields, whatever its texts look like: text, lists of text, numbers, where answers start."""
    from datasets import Features, List, Value

    def feature(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: feature(key, part) for key, part in value.items()}
        if isinstance(value, list):  # which may be empty in the first row
            numbers = bool(value) and isinstance(value[0], float)
            return List(Value("int64" if name == "answer_start" else "float64" if numbers else "string"))
        return Value("float64" if isinstance(value, float) else "string")

    return Features({name: feature(name, value) for name, value in row.items()})


def rows_of(batch: dict[str, list[Any]]) -> Iterator[Row]:
    """Rows of a batch of columns."""
    for values in zip(*batch.values(), strict=True):
        yield Row(**dict(zip(batch, values, strict=True)))
