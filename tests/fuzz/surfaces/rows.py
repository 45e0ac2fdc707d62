"""Rows of users: JSON Lines, CSV and Parquet, read by the data stage."""

from __future__ import annotations

import csv
import io
import json
import random
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, STRANGE, altered_bytes, altered_json

from compress.data.read import SPLITS
from compress.data.stage import load_data, run_data_stage
from compress.recipe.file import load_recipe
from compress.runs.directory import open_run

COLUMNS = ("text", "label", "lang")
WORDS = ("red", "dog", "blue", "cat", "pink", "cow")
CELLS = ("", " ", "\0", '"', '"open', 'a"b', "a,b", "a\nb", "\r", "\ufeff", "=1+1", "x" * 200_000, "[/]", "\x1b[31m")
"""What a field of a CSV file may hold."""


def good_rows(split: str) -> list[dict[str, Any]]:
    """Rows without fault."""
    return [
        {"text": f"{word} {split} {number}", "label": "ab"[number % 2], "lang": ("de", "en")[number // 3], "more": [1]}
        for number, word in enumerate(WORDS)
    ]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def csv_text(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([COLUMNS, *([row[name] for name in COLUMNS] for row in rows)])
    return text.getvalue().encode()


def parquet(table: pyarrow.Table) -> bytes:
    stream = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, stream)
    return stream.getvalue().to_pybytes()


def parquet_of(rows: list[dict[str, Any]]) -> bytes:
    return parquet(pyarrow.Table.from_pylist(rows))


WRITERS = {"jsonl": json_lines, "csv": csv_text, "parquet": parquet_of}


def write(folder: Path, ending: str, altered: Mapping[str, bytes]) -> None:
    """One file a split, good but for the altered ones."""
    (folder / "rows").mkdir()
    for split in SPLITS:
        (folder / "rows" / f"{split}.{ending}").write_bytes(altered.get(split) or WRITERS[ending](good_rows(split)))


def ask(folder: Path) -> None:
    """Read the rows, and compare what the run keeps with what the files say."""
    run = open_run(load_recipe(None, {"name": "fuzzed", "data.source": str(folder / "rows")}), folder / "runs")
    run_data_stage(run)
    splits = load_data(run).splits
    for split in SPLITS:
        try:
            wanted = meaning(next((folder / "rows").glob(f"{split}.*")))
        except (ValueError, RecursionError, csv.Error) as error:
            raise WrongAnswer(f"{split} is accepted, but {error}") from error
        found = [(row.text, row.label, row.lang) for row in splits[split]]
        if wanted is not None and found != wanted:
            raise WrongAnswer(f"{split}: {found!s:.500} in place of {wanted!s:.500}")


def meaning(path: Path) -> list[tuple[str, ...]] | None:
    """The rows that a file holds, read by its format's rules alone; none for Parquet.

    :raises ValueError: If the file breaks these rules.
    """
    if path.suffix == ".parquet":
        return None
    text = path.read_bytes().decode("utf-8-sig")
    if path.suffix == ".csv":
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        header, *cells = [line for line in lines if line]
        rows = [dict(zip(header, line, strict=True)) for line in cells]
        if len(set(header)) < len(header):
            raise ValueError("a column is there twice")
    else:
        rows = [json.loads(line, object_pairs_hook=_without_twins) for line in text.split("\n") if line.strip()]
    cleaned = [tuple(_normal(row[name]) for name in COLUMNS) for row in rows]
    return list(dict.fromkeys(row for row in cleaned if row[0]))


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _normal(value: Any) -> str:
    if not isinstance(value, str | int):
        raise ValueError(f"{value!r:.100} is neither text nor a whole number")
    return unicodedata.normalize("NFC", str(value).encode().decode()).strip()


def draw(random_: random.Random, folder: Path) -> str:
    """One file of one format, altered."""
    ending, split = random_.choice(list(WRITERS)), random_.choice(SPLITS)
    words, content = _altered(random_, ending, good_rows(split))
    write(folder, ending, {split: content})
    return f"{split}.{ending}: {words}"


def _altered(random_: random.Random, ending: str, rows: list[dict[str, Any]]) -> tuple[str, bytes]:
    place = random_.randrange(len(rows))
    if random_.random() < 0.4:
        return altered_bytes(random_, WRITERS[ending](rows))
    if ending == "parquet":
        name, (words, column) = random_.choice([*COLUMNS, "more"]), random_.choice(list(odd_columns().items()))
        table = pyarrow.Table.from_pylist(rows)
        return f"{name} is {words}", parquet(table.set_column(table.schema.get_field_index(name), name, column))
    if ending == "csv":
        name, cell = random_.choice(COLUMNS), random_.choice(CELLS)
        lines = csv_text(rows).split(b"\r\n")
        at = random_.randrange(len(lines))
        lines[at] = lines[at].replace(rows[place][name].encode(), cell.encode()) + random_.choice(
            (b"", b"", b",", b'"')
        )
        return f"line {at} has {cell[:20]!r}", b"\r\n".join(lines)
    words, line = altered_json(random_, rows[place])
    lines = json_lines(rows).split(b"\n")
    lines[place] = line.encode("utf-8", "surrogatepass")
    return f"row {place}: {words}", b"\n".join(lines)


def odd_columns() -> dict[str, pyarrow.Array]:
    """Six values of kinds that text files do not have."""
    count = len(WORDS)
    return {
        "whole numbers": pyarrow.array(range(count)),
        "fractions": pyarrow.array([1.5] * count),
        "truths": pyarrow.array([True, False] * (count // 2)),
        "nothing": pyarrow.nulls(count),
        "some nothing": pyarrow.array(["a", None] * (count // 2)),
        "bytes": pyarrow.array([b"\xff\xfe"] * count),
        "text that is not UTF-8": pyarrow.array([b"\xff\xfe"] * count).view(pyarrow.string()),
        "lists": pyarrow.array([["a"]] * count),
        "objects": pyarrow.array([{"a": 1}] * count),
        "a far date": pyarrow.array([2**31 - 1] * count, pyarrow.date32()),
        "far times": pyarrow.array([2**50] * count, pyarrow.timestamp("s")),
        "times of nowhere": pyarrow.array([1] * count, pyarrow.timestamp("us", tz="Mars/Base")),
        "nanoseconds": pyarrow.array([1] * count, pyarrow.timestamp("ns")),
        "long durations": pyarrow.array([2**62] * count, pyarrow.duration("s")),
        "names in a dictionary": pyarrow.array(["a", "b"] * (count // 2)).dictionary_encode(),
        "large numbers": pyarrow.array([2**64 - 1] * count, pyarrow.uint64()),
        "large text": pyarrow.array(["a", "b"] * (count // 2), pyarrow.large_string()),
    }


def line(**fields: Any) -> bytes:
    """Good rows, and one with other fields."""
    return json_lines([*good_rows("train"), {**good_rows("train")[0], "text": "unlike the others", **fields}])


def raw_line(text: bytes) -> bytes:
    return json_lines(good_rows("train")) + text + b"\n"


def every(field: str, values: tuple[str, ...]) -> dict[str, bytes]:
    """All rows of all splits with these values in turn."""
    return {
        split: json_lines([{**row, field: values[number % len(values)]} for number, row in enumerate(good_rows(split))])
        for split in SPLITS
    }


def in_train(ending: str, content: bytes) -> Spoil:
    return lambda folder: write(folder, ending, {"train": content})


def in_all(content: Mapping[str, bytes]) -> Spoil:
    return lambda folder: write(folder, "jsonl", content)


def in_place_of_a_file(replace: Spoil) -> Spoil:
    def spoil(folder: Path) -> None:
        write(folder, "jsonl", {})
        replace(folder / "rows/train.jsonl")

    return spoil


HEADER = b"text,label,lang\r\n"
GOOD_CSV = csv_text(good_rows("train"))
JSON_LINES: dict[str, tuple[bytes, Wants]] = {
    "byte order mark": (b"\xef\xbb\xbf" + raw_line(b""), "accepted"),
    "UTF-16": (raw_line(b"").decode().encode("utf-16"), "refused"),
    "Latin-1": (raw_line('{"text": "café", "label": "a", "lang": "de"}'.encode("latin-1")), "refused"),
    "lone surrogate in text": (raw_line(b'{"text": "x \\ud800 y", "label": "a", "lang": "de"}'), "refused"),
    "lone surrogate in a label": (raw_line(b'{"text": "x", "label": "\\udc00", "lang": "de"}'), "refused"),
    "lone surrogate in a language": (raw_line(b'{"text": "x", "label": "a", "lang": "\\udc00"}'), "refused"),
    "lone surrogate in a key": (raw_line(b'{"\\ud800": 1, "label": "a", "lang": "de"}'), "refused"),
    "label of 5,000 digits": (raw_line(b'{"text": "x", "label": ' + b"9" * 5000 + b', "lang": "de"}'), "refused"),
    "label beyond all numbers": (raw_line(b'{"text": "x", "label": 1e999, "lang": "de"}'), "refused"),
    "label that is a fraction": (line(label=1.5), "refused"),
    "label of blanks": (line(label=" "), "refused"),
    "text that is a number": (line(text=5), "refused"),
    "deep nesting": (raw_line(b'{"text": "x", "label": "a", "lang": "de", "more": ' + DEEP.encode() + b"}"), "refused"),
    "keys twice": (raw_line(b'{"text": "x", "text": "y", "label": "a", "lang": "de"}'), "refused"),
    "a list for a row": (raw_line(b"[1]"), "refused"),
    "half a row": (raw_line(b'{"text": "x", "label"'), "refused"),
    "two rows in a line": (raw_line(b'{"text": "x", "label": "a", "lang": "de"}' * 2), "refused"),
    "line separators in text": (line(text="a\u2028b\x85c\x1ed"), "accepted"),
    "nothing": (b"\n", "refused"),
    "a language in markup": (line(lang="[/]"), "either"),
    "a language of two lines": (line(lang="d\ne"), "either"),
    "a label with escapes": (line(label="\x1b[31m"), "either"),
    "a language of a million characters": (line(lang="w" * 1_000_000), "either"),
    "a text of ten million characters": (line(text="word " * 2_000_000), "accepted"),
    "a path for a language": (line(lang="../../x"), "either"),
}
DATES = ("2020-01-01", "2021-05-06")
ALL_ROWS: dict[str, tuple[dict[str, bytes], Wants]] = {
    "labels that look like dates": (every("label", DATES), "accepted"),
    "languages that look like dates": (every("lang", DATES), "accepted"),
    "labels that look like numbers": (every("label", ("1", "02")), "accepted"),
    "labels that look like nothing": (every("label", ("null", "None")), "accepted"),
    "labels that look like no numbers": (every("label", ("NaN", "inf")), "accepted"),
    "texts that look like times": (
        every("text", tuple(f"2021-01-0{day}T10:00:00Z" for day in range(1, 7))),
        "accepted",
    ),
}
CSV: dict[str, tuple[bytes, Wants]] = {
    "byte order mark": (b"\xef\xbb\xbf" + GOOD_CSV, "accepted"),
    "a quote that stays open": (GOOD_CSV + b'"x,a,de\r\n', "refused"),
    "too few cells": (GOOD_CSV + b"x,a\r\n", "refused"),
    "too many cells": (GOOD_CSV + b"x,a,de,more\r\n", "refused"),
    "a header twice": (GOOD_CSV.replace(HEADER, b"text,label,lang,text\r\n"), "refused"),
    "a column twice": (b"text,label,lang,text\r\nx,a,de,y\r\nz,b,de,u\r\n", "refused"),
    "no header": (GOOD_CSV.removeprefix(HEADER), "refused"),
    "semicolons": (GOOD_CSV.replace(b",", b";"), "refused"),
    "a line break in a cell": (GOOD_CSV + b'"x\ny",a,de\r\n', "accepted"),
    "a large cell": (GOOD_CSV + b'"' + b"x " * 200_000 + b'",a,de\r\n', "either"),
    "an empty label": (GOOD_CSV + b"x,,de\r\n", "refused"),
}


def surface(material: Material) -> Surface:
    cases: dict[str, tuple[Spoil, Wants]] = {
        **{f"JSON Lines: {name}": (in_train("jsonl", content), wants) for name, (content, wants) in JSON_LINES.items()},
        **{f"JSON Lines: {name}": (in_all(content), wants) for name, (content, wants) in ALL_ROWS.items()},
        **{f"CSV: {name}": (in_train("csv", content), wants) for name, (content, wants) in CSV.items()},
        **{f"in place of a file: {name}": (in_place_of_a_file(put), "refused") for name, put in REPLACEMENTS.items()},
        **{
            f"JSON: every text is {name}": (in_train("jsonl", line_with(text)), "either")
            for name, text in STRANGE.items()
        },
        **{
            f"Parquet: {name} that nobody asks for": (in_train("parquet", _beside(column)), "accepted")
            for name, column in odd_columns().items()
        },
    }
    return Surface("rows", ask, cases, draw, draws=1200, places=("data: ",))


def line_with(text: str) -> bytes:
    return raw_line(f'{{"text": "x", "label": {text}, "lang": "de"}}'.encode())


def _beside(column: pyarrow.Array) -> bytes:
    return parquet(pyarrow.Table.from_pylist(good_rows("train")).append_column("unused", column))
