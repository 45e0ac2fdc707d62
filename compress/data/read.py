"""Reading the user's rows: JSON Lines, CSV and Parquet files, folders of them, and data sets of the hub.

A row here is a mapping of the user's own field names to values; `compress.data.clean` makes our rows of it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import adopt_loggers
from compress.errors import CompressError
from compress.recipe.data import Data

SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
_ALIASES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}
_SHARES = {"train": 0.8, "validation": 0.1}

RawRow = tuple[str, Mapping[str, Any]]
"""Where the row stands ("file:line"), and its fields."""


def read_splits(data: Data, seed: int, task: str = "text-classification") -> dict[str, Iterable[RawRow]]:
    """Read the three splits that the recipe names, and its unlabelled rows if it names some.

    :param task: Which of the built-in data sets is meant.
    :param seed: Divides a single file into splits, and fixes the built-in data set.
    :raises CompressError: Naming the file and row that cannot be read.
    """
    splits = _read_labelled(data, seed, task)
    return {**splits, UNLABELLED: read_file(Path(data.unlabelled))} if data.unlabelled else splits


def _read_labelled(data: Data, seed: int, task: str) -> dict[str, Iterable[RawRow]]:
    if data.train:
        return {split: read_file(Path(getattr(data, split))) for split in SPLITS}
    if data.source == "cldr":
        return {
            split: [(f"cldr {split}:{number}", row) for number, row in enumerate(rows, 1)]
            for split, rows in _built_in(data, seed, task).items()
        }
    path = Path(data.source)
    if path.is_dir():
        return {split: chain.from_iterable(map(read_file, _split_files(path, split))) for split in SPLITS}
    if path.is_file():
        return _divided(path, seed)
    if path.suffix in READERS or path.is_absolute() or data.source.startswith((".", "~")):
        raise CompressError(f"{data.source}: no such file or folder (data.source)")
    return _read_hub(data)


def _built_in(data: Data, seed: int, task: str) -> Mapping[str, list[Any]]:
    from compress.data.builtin import cldr, derived

    if task == "token-classification":
        return derived.generate_words(seed)
    return derived.generate_pairs(seed) if data.fields.text_pair else cldr.generate(seed)


def read_file(path: Path) -> Iterator[RawRow]:
    """Rows of one file, by its ending: .jsonl or .json (one object a line), .csv, .parquet.

    :raises CompressError: If the file is missing, of another kind, or damaged.
    """
    if not path.is_file():
        raise CompressError(f"{path}: no such file")
    if path.suffix not in READERS:
        raise CompressError(f"{path}: unknown kind of file; use one of {', '.join(READERS)}")
    try:
        yield from READERS[path.suffix](path)
    except UnicodeDecodeError as error:
        raise CompressError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise CompressError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read_json_lines(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise CompressError(f"{path}:{number}: not a JSON object ({error})") from error
            if not isinstance(row, dict):
                raise CompressError(f"{path}:{number}: a row must be a JSON object, got {type(row).__name__}")
            yield f"{path}:{number}", row


def _read_csv(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        try:
            for row in reader:
                if None in row or None in row.values():
                    wanted = len(reader.fieldnames or [])
                    raise CompressError(f"{path}:{reader.line_num}: the row does not have the header's {wanted} fields")
                yield f"{path}:{reader.line_num}", row
        except csv.Error as error:
            raise CompressError(f"{path}:{reader.line_num}: not valid CSV ({error})") from error


def _read_parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row
    except pyarrow.ArrowException as error:
        raise CompressError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from error


READERS = {
    ".jsonl": _read_json_lines,
    ".json": _read_json_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _split_files(folder: Path, split: str) -> list[Path]:
    """The one file of a split, or one for each part of it, such as ``de.train.jsonl`` and ``fr.train.jsonl``."""
    names = [f"{alias}{ending}" for alias in _ALIASES[split] for ending in READERS]
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise CompressError(f"{folder}: more than one file for the {split} split; expected one like {split}.jsonl")
    found = found or sorted(path for name in names for path in folder.glob(f"*.{name}"))
    if not found:
        raise CompressError(
            f"{folder}: no file for the {split} split; expected one like {split}.jsonl or several like de.{split}.jsonl"
        )
    return found


def _divided(path: Path, seed: int) -> dict[str, Iterable[RawRow]]:
    """Divide the rows of a single file: 80 % train, 10 % validation, 10 % test, read once for each."""
    rows = sum(1 for _ in read_file(path))
    order = np.random.default_rng(seed).permutation(rows)
    first = round(rows * _SHARES["train"])
    second = first + round(rows * _SHARES["validation"])
    home = np.empty(rows, dtype=np.int8)
    for number, part in enumerate((order[:first], order[first:second], order[second:])):
        home[part] = number

    def rows_of(number: int) -> Iterator[RawRow]:
        return (row for index, row in enumerate(read_file(path)) if home[index] == number)

    return {split: rows_of(number) for number, split in enumerate(SPLITS)}


def _read_hub(data: Data) -> dict[str, Iterable[RawRow]]:
    import datasets

    adopt_loggers()
    try:
        loaded = datasets.load_dataset(data.source, data.configuration)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise CompressError(
            f"{data.source}: neither a file, a folder nor a data set that can be loaded from the hub ({reason})"
        ) from error
    return rows_of_dataset(loaded, data)


def rows_of_dataset(loaded: Any, data: Data) -> dict[str, Iterable[RawRow]]:
    """Rows of a ``datasets.DatasetDict``; numbered labels become their names.

    :raises CompressError: If a split is missing.
    """
    splits: dict[str, Iterable[RawRow]] = {}
    for split, aliases in _ALIASES.items():
        name = next((alias for alias in aliases if alias in loaded), None)
        if name is None:
            raise CompressError(f"{data.source}: no {split} split; it has {', '.join(loaded)}")
        splits[split] = _rows_of_split(loaded[name], f"{data.source} {name}")
    return splits


def _rows_of_split(rows: Any, place: str) -> Iterator[RawRow]:
    for number, row in enumerate(rows, 1):
        yield f"{place}:{number}", {name: _named(value, rows.features[name]) for name, value in row.items()}


def _named(value: Any, feature: Any) -> Any:
    if hasattr(feature, "names"):
        return feature.names[value]
    inner = getattr(feature, "feature", None)
    return [_named(part, inner) for part in value] if hasattr(inner, "names") else value
