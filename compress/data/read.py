"""Reading the user's rows: JSON Lines, CSV and Parquet files, folders of them, and data sets of the hub.

A row here is a mapping of the user's own field names to values; `compress.data.clean` makes our rows of it.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from compress.console import adopt_loggers
from compress.data.columns import Mark, columns_of, row_of
from compress.data.divide import SHARES, RawRow, divided
from compress.errors import CompressError, first_line
from compress.recipe.data import Data
from compress.tasks.registry import TaskName, task_named

LONGEST_LINE = 50_000_000  # characters
SPLITS = ("train", "validation", "test")
UNLABELLED = "unlabelled"
_ALIASES = {"train": ("train",), "validation": ("validation", "valid", "dev", "val"), "test": ("test",)}
SPLIT_NAMES = tuple(chain.from_iterable(_ALIASES.values()))


def read_splits(
    data: Data,
    seed: int,
    task: TaskName = "text-classification",
    *,
    labelled: bool = True,
    shares: Mapping[str, float] = SHARES,
) -> dict[str, Iterable[RawRow]]:
    """Read the three splits that the recipe names, and its unlabelled rows if it names some.

    :param task: What rows are for.
    :param seed: Divides a single file into splits, and fixes the built-in data set.
    :param labelled: Whether rows of the splits have labels.
    :param shares: Of the rows of a single file, by split.
    :raises CompressError: Naming the file and row that cannot be read.
    """
    if Path(data.source).is_file() and not data.train:
        module, columns = task_named(task), columns_of(task_named(task), data.fields, labelled=labelled)
        path = Path(data.source)
        splits = divided(path, seed, read_file, lambda raw: row_of(module, *raw, columns), module.SPLIT_BY, shares)
    else:
        splits = _read_split(data, seed, task)
    return {**splits, UNLABELLED: read_file(Path(data.unlabelled))} if data.unlabelled else splits


def have_labels(data: Data, task: TaskName) -> bool:
    """Whether any row to measure on has a label, so that all must; built-in rows do.

    Where vectors are compared, rows have what labels are for others if they come in pairs, or are parallel. Where
    passages of other rows are added, any row counts: without its label it would be taken for relevant.
    """
    if task_named(task).VECTORS:
        return bool(data.fields.text_pair or data.fields.parallel)
    source = Path(data.source)
    splits = SPLITS if data.negatives.per_query else ("test",)
    files = [source]
    if data.train:
        files = [Path(getattr(data, split)) for split in splits]
    elif source.is_dir():
        files = [file for split in splits for file in _split_files(source, split)]
    column = columns_of(task_named(task), data.fields, labelled=True)["label"]
    if files[0].is_file():
        rows = chain.from_iterable(map(read_file, files))
    elif data.train or data.source == "cldr":
        return True
    else:
        read = _read_split(data, 0, task)  # of the hub, or what says that there is no such file
        rows = chain.from_iterable(read[split] for split in splits)
    return any(row.get(column) is not None for _, row in rows)


def _read_split(data: Data, seed: int, task: TaskName) -> dict[str, Iterable[RawRow]]:
    """Splits that are apart already."""
    if data.train:
        return {split: read_file(Path(getattr(data, split))) for split in SPLITS}
    if data.source == "cldr":
        return {
            split: [(f"cldr {split}:{number}", row) for number, row in enumerate(rows, 1)]
            for split, rows in _built_in(data, seed, task).items()
        }
    path = Path(data.source)
    if path.exists() and data.configuration:
        raise CompressError(f"data.configuration is of a data set on the hub, {data.source} is none; leave it out")
    if path.is_dir():
        return {split: chain.from_iterable(map(read_file, _split_files(path, split))) for split in SPLITS}
    if path.suffix in READERS or path.is_absolute() or data.source.startswith((".", "~")):
        raise CompressError(f"{data.source}: no such file or folder (data.source)")
    return _read_hub(data)


def _built_in(data: Data, seed: int, task: TaskName) -> Mapping[str, list[Any]]:
    from compress.data.builtin import cldr, derived

    if task == "token-classification":
        return derived.generate_words(seed)
    if task_named(task).VECTORS:
        return cldr.generate_parallel(seed)
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
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
            if len(line) == LONGEST_LINE:
                raise CompressError(
                    f"{path}:{number}: a line of {LONGEST_LINE:,} characters or more; write a row a line"
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_with_single_keys)
            except CompressError as error:
                raise CompressError(f"{path}:{number}: {error}") from error
            except ValueError as error:
                raise CompressError(f"{path}:{number}: not a JSON object ({error})") from error
            except RecursionError as error:
                raise CompressError(f"{path}:{number}: not a row: its JSON is nested too deeply") from error
            if not isinstance(row, dict):
                raise CompressError(f"{path}:{number}: a row must be a JSON object, got {type(row).__name__}")
            yield f"{path}:{number}", row


def _with_single_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_duplicates("key", [name for name, _ in pairs])
    return dict(pairs)


def _refuse_duplicates(what: str, names: Sequence[str]) -> None:
    """Of two values under one name, neither is more right than the other."""
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        raise CompressError(f"the {what} {double[0]!r} comes twice; leave one out")


def _read_csv(path: Path) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            if any("\0" in name for name in reader.fieldnames or []):
                raise CompressError("not text but binary data (a zero byte)")
            _refuse_duplicates("column", reader.fieldnames or [])
            for row in reader:
                if None in row or None in row.values():
                    wanted = len(reader.fieldnames or [])
                    raise CompressError(f"{path}:{reader.line_num}: the row does not have the header's {wanted} fields")
                yield f"{path}:{reader.line_num}", row
        except CompressError as error:
            raise CompressError(f"{path}: {error}") from error
        except csv.Error as error:
            raise CompressError(f"{path}: not valid CSV after line {reader.line_num} ({error})") from error


def _read_parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        names = file.schema_arrow.names
        _refuse_duplicates("column", names)
        number = 0
        for batch in file.iter_batches():
            for values in zip(*map(_values, batch.columns), strict=True):
                number += 1
                yield f"{path}: row {number}", dict(zip(names, values, strict=True))
    except CompressError as error:
        raise CompressError(f"{path}: {error}") from error
    except (pyarrow.ArrowException, OverflowError) as error:
        raise CompressError(f"{path}: not a readable Parquet file ({first_line(error)})") from error


def _values(column: Any) -> list[Any]:
    """A column's values; what Python has no value for is an error only where a row is asked for it."""
    try:
        values: list[Any] = column.to_pylist()
    except Exception as error:  # whatever time zones, dates and texts that are none may raise
        return [error] * len(column)
    return values


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


def _read_hub(data: Data) -> dict[str, Iterable[RawRow]]:
    import datasets

    adopt_loggers()
    try:
        loaded = datasets.load_dataset(data.source, data.configuration)
    except Exception as error:
        raise CompressError(
            f"{data.source}: neither a file, a folder nor a data set that can be loaded from the hub "
            f"({first_line(error)})"
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
        try:
            yield f"{place}:{number}", {name: _named(name, value, rows.features[name]) for name, value in row.items()}
        except CompressError as error:
            raise CompressError(f"{place}:{number}: {error}") from error


def _named(column: str, value: Any, feature: Any) -> Any:
    if value is None:
        return None
    if hasattr(feature, "names"):
        if value == Mark.WITHOUT_LABEL.value:
            return Mark.WITHOUT_LABEL
        if not 0 <= value < len(feature.names):
            raise CompressError(f"field '{column}' has {value} in place of one of the {len(feature.names)} labels")
        return feature.names[value]
    inner = getattr(feature, "feature", None)
    if not hasattr(inner, "names"):
        return value
    names = [_named(column, part, inner) for part in value]
    if Mark.WITHOUT_LABEL in names:
        raise CompressError(f"field '{column}' has {Mark.WITHOUT_LABEL.value} in place of a label; each word needs one")
    return names
