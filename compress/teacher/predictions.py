"""The predictions stage: what a file says of the rows, in place of a teacher that is asked about them.

A row of the file has the text of a row of the data, and with it either the probabilities of the labels, or an answer
and how sure it is (of a large language model, say); of a passage that is ranked for a query its score.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from compress.console import say
from compress.data.columns import NO_LANGUAGE, columns_of, row_of
from compress.data.divide import RawRow
from compress.data.read import UNLABELLED, read_file
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.runs.directory import Run
from compress.runs.files import file_sha256
from compress.runs.stages import run_stage
from compress.tasks.rows import Row, name_in, number_in, value_in
from compress.teacher.summary import PREDICTIONS, PredictionsSummary

PROBABILITIES, CONFIDENCE, SCORE = "probabilities", "confidence", "score"
_FILE = "predictions.safetensors"
_ROUNDING = 0.01  # that the sum of written probabilities may be off by
_MOST_MISSING = 0.5  # share of a language's training rows: with more, the texts are likely not the data's
_LEAST = 1e-6  # what "impossible" is taken for: its logarithm is finite in half precision too

_Key = tuple[str, str, str | None]
"""Language, text and second text of a row."""


def run_predictions_stage(run: Run) -> PredictionsSummary:
    """Fill ``predictions/`` with the probabilities that the file has for each row of the run."""
    path = _path_of(run)
    inputs = {
        "file": file_sha256(path) if path.is_file() else None,
        "path": str(path),
        "fields": run.recipe.data.fields.model_dump(),
        "languages": run.recipe.student.languages,
    }
    return run_stage(run, PREDICTIONS, inputs, (DATA.name,), lambda folder, _: _build(run, path, folder))


def load_probabilities(run: Run, split: str) -> np.ndarray:
    """What the file says of the rows of a split, float32 (rows, labels); no numbers (NaN) of rows that it lacks.

    Where passages are ranked these are scores, float32 (rows, 1).
    """
    with safe_open(run.path_of(PREDICTIONS.name) / _FILE, "np") as file:
        return np.asarray(file.get_tensor(split))


def with_predictions(run: Run, data: DataSet) -> DataSet:
    """The data without the training rows that the file lacks."""
    kept = {split: np.flatnonzero(has_prediction(load_probabilities(run, split))) for split in _training_splits(data)}
    return replace(data, splits={**data.splits, **{split: data.splits[split].select(kept[split]) for split in kept}})


def training_logits(run: Run) -> np.ndarray:
    """Logarithms of the probabilities of the rows that the student learns from, float32 (rows, labels); scores as they
    are, (rows, 1)."""
    found = [load_probabilities(run, split) for split in _training_splits(load_data(run))]
    probabilities = np.concatenate([array[has_prediction(array)] for array in found])
    if run.task.RANKS:
        return probabilities
    return np.asarray(np.log(np.maximum(probabilities, _LEAST)))


def has_prediction(probabilities: np.ndarray) -> np.ndarray:
    """Which rows have some, bool (rows,)."""
    return np.asarray(~np.isnan(probabilities).any(axis=1))


def _path_of(run: Run) -> Path:
    assert run.recipe.teacher.predictions is not None
    return Path(run.recipe.teacher.predictions)


def _training_splits(data: DataSet) -> list[str]:
    return [split for split in ("train", UNLABELLED) if split in data.splits]


def _build(run: Run, path: Path, folder: Path) -> PredictionsSummary:
    data, languages = load_data(run), run.recipe.student.languages
    said = _read(run, path, data.labels)
    arrays, used = {}, set()
    for split in (*_training_splits(data), "test"):
        rows = list(data.splits[split])
        keys = [_found_key(said, row) for row in rows]
        if split != "test" and languages is not None:
            keys = [key if row.lang in languages else None for key, row in zip(keys, rows, strict=True)]
        nothing = np.full(1 if run.task.RANKS else len(data.labels), np.nan)
        arrays[split] = np.array([nothing if key is None else said[key].probabilities for key in keys], np.float32)
        used |= set(keys)
    save_file(arrays, folder / _FILE)
    summary = _counted(data, arrays, languages, len(said), len(said.keys() & used))
    _tell(path, summary)
    return summary


def _counted(
    data: DataSet, arrays: Mapping[str, np.ndarray], languages: Sequence[str] | None, read: int, used: int
) -> PredictionsSummary:
    rows: dict[str, int] = {}
    missing: dict[str, int] = {}
    for split in _training_splits(data):
        own, has = data.splits[split].column("lang"), has_prediction(arrays[split])
        for language in sorted(set(own) if languages is None else {*own} & {*languages}):
            rows[language] = rows.get(language, 0) + int((own == language).sum())
            missing[language] = missing.get(language, 0) + int((~has)[own == language].sum())
    return PredictionsSummary(
        read=read, unused=read - used, rows=rows, missing=missing, test_rows=int(has_prediction(arrays["test"]).sum())
    )


def _tell(path: Path, summary: PredictionsSummary) -> None:
    """Say what was matched.

    :raises CompressError: If a language lacks so many that the file is likely not of these rows.
    """
    if not summary.rows:
        return  # the pool of rows says what is wrong with the languages
    missing, rows = sum(summary.missing.values()), sum(summary.rows.values())
    worst = max(summary.rows, key=lambda language: summary.missing[language] / summary.rows[language])
    share = summary.missing[worst] / summary.rows[worst]
    told = f"{path} has none for {summary.missing[worst]:,} of the {summary.rows[worst]:,} training rows in {worst}"
    if share > _MOST_MISSING:
        raise CompressError(
            f"teacher.predictions: {told}, more than {100 * _MOST_MISSING:.0f} %; rows are matched by their text as it "
            "stands in the data: leave rows without a prediction out of it, or name other student.languages"
        )
    say(f"predictions: {rows - missing:,} of {rows:,} training rows have one, and {summary.test_rows:,} test rows")
    if missing:
        say(f"predictions: warning: {missing:,} training rows are left out; {told}")
    if summary.unused:
        say(f"predictions: warning: {summary.unused:,} of {summary.read:,} match no row of the data")


@dataclass(frozen=True)
class _Said:
    """Probabilities, float (labels,), or a score, and where they stand."""

    probabilities: np.ndarray
    place: str


def _read(run: Run, path: Path, labels: Sequence[str]) -> dict[_Key, _Said]:
    """All that the file says, by language, text and second text; rows without a language are of any."""
    said: dict[_Key, _Said] = {}
    for place, content in read_file(path):
        row = _row_in(run, (place, content))
        found = _Said(_probabilities(run, (place, content), labels), place)
        before = said.setdefault((row.lang, row.text, row.text_pair), found)
        if not np.allclose(before.probabilities, found.probabilities, atol=1e-6):
            raise CompressError(f"{place}: says something else than {before.place} of the same text; leave one out")
    return said


def _row_in(run: Run, raw: RawRow) -> Row:
    """The row that something is said of."""
    columns = columns_of(run.task, run.recipe.data.fields, labelled=False)
    columns.pop("parallel", None)
    if raw[1].get(columns.get("lang", "")) is None:
        columns.pop("lang", None)
    row = row_of(run.task, *raw, columns)
    assert row is not None
    return row


def _found_key(said: Mapping[_Key, _Said], row: Row) -> _Key | None:
    keys = [(language, row.text, row.text_pair) for language in (row.lang, NO_LANGUAGE)]
    return next((key for key in keys if key in said), None)


def _probabilities(run: Run, raw: RawRow, labels: Sequence[str]) -> np.ndarray:
    """What a row of the file says, float (labels,), with the sum 1."""
    place, content = raw
    if run.task.RANKS:
        return np.array([number_in(place, content, {SCORE: SCORE}, SCORE)])
    if content.get(PROBABILITIES) is not None:
        return _of_list_or_mapping(place, content[PROBABILITIES], labels)
    columns = {"label": run.recipe.data.fields.label or run.task.FIELDS["label"], CONFIDENCE: CONFIDENCE}
    if content.get(columns["label"]) is None or content.get(CONFIDENCE) is None:
        raise CompressError(
            f"{place}: says nothing of the row; give '{PROBABILITIES}', or '{columns['label']}' and '{CONFIDENCE}'"
        )
    sure = _number(place, CONFIDENCE, value_in(place, content, columns, CONFIDENCE))
    label = name_in(place, content, columns, "label")
    if label not in labels:
        raise CompressError(f"{place}: {_unknown(label, labels)}")
    if sure * len(labels) <= 1:
        raise CompressError(
            f"{place}: {CONFIDENCE} {sure:g} of '{label}' is no more than an even share of {len(labels)} labels, which "
            "is no answer; leave the row out, or give its probabilities"
        )
    spread = np.full(len(labels), (1 - sure) / (len(labels) - 1))
    spread[labels.index(label)] = sure
    return spread


def _of_list_or_mapping(place: str, given: Any, labels: Sequence[str]) -> np.ndarray:
    if isinstance(given, str):  # of a CSV file
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise CompressError(f"{place}: field '{PROBABILITIES}' is no JSON; write a list or a mapping") from error
    if isinstance(given, Mapping):
        named = {name: value for name, value in given.items() if value is not None}
        for name in named:
            if name not in labels:
                raise CompressError(f"{place}: {_unknown(name, labels)}")
        given = [named.get(label, 0.0) for label in labels]
    if not isinstance(given, list) or len(given) != len(labels):
        raise CompressError(
            f"{place}: field '{PROBABILITIES}' must be a mapping from labels, or a list of {len(labels)} numbers for "
            f"{reprlib.repr(labels)}, got {reprlib.repr(given)}"
        )
    numbers = np.array([_number(place, PROBABILITIES, value) for value in given])
    if abs(numbers.sum() - 1) > _ROUNDING:
        raise CompressError(f"{place}: the {PROBABILITIES} add up to {numbers.sum():g}, not to 1")
    return np.asarray(numbers / numbers.sum())


def _unknown(label: str, labels: Sequence[str]) -> str:
    return f"the data has no label {reprlib.repr(label)}; it has {', '.join(labels[:5])}" + " …" * (len(labels) > 5)


def _number(place: str, field: str, value: Any) -> float:
    """A number from 0 to 1; of a CSV file its digits."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise CompressError(f"{place}: field '{field}' must hold numbers from 0 to 1, got {reprlib.repr(value)}")
    return number
