"""Model folders and files of rows that come from elsewhere: `compress predict` and `compress export MODEL --data`."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import REPLACEMENTS, altered_bytes, altered_folder

from compress.cli.commands import taken_run
from compress.cli.predict import rows_to_ask
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.serving.opened import open_to_try
from surfaces import models

ROWS = b'{"text": "12:30", "lang": "de"}\n{"text": "2024\xe5\xb9\xb4", "lang": "ja"}\n' + b"".join(
    b'{"text": "%d:%02d Uhr", "lang": "%s"}\n' % (number, 59 - number, (b"de", b"ja")[number % 2])
    for number in range(24)
)
LINES = "12:30\n2024年\n".encode()
_ITS_OWN = ("of several labels", "of ten positions", "of other labels")
"""What is wrong with a teacher of given rows and labels, but may be right for a model that brings its own."""
_SETTINGS: dict[str, Any] = {"export.variants": [], "evaluation.baseline": False}


def ask(folder: Path) -> None:
    """Ask the model of each row of the file, and take it as it is: both say the same."""
    file = folder / "rows" / (folder / "asked.txt").read_text("utf-8")
    model = open_to_try(folder / "model")
    asked = rows_to_ask(model, file, None)
    said = model.predict(asked.texts, asked.text_pairs, asked.languages)
    for text, answer in zip(asked.texts, said, strict=True):
        labels = answer.prediction if isinstance(answer.prediction, list) else [answer.prediction]
        if set(labels) - set(model.labels) or not np.isfinite(list(answer.probabilities.values())).all():
            raise WrongAnswer(f"{text!r:.100} is {answer}")
    if file.suffix == ".txt":
        return
    try:
        run = taken_run(folder / "model", str(file), _SETTINGS, folder / "runs", in_json=True)
    except CompressError:
        if any((folder / "runs").glob("[!.]*")):
            raise WrongAnswer("what was refused left a run behind") from None
        raise
    found = {row.text: row.label for rows in load_data(run).splits.values() for row in rows if row.label}
    known = {text.strip(): answer.prediction for text, answer in zip(asked.texts, said, strict=True)}
    if wrong := [text for text, label in found.items() if known.get(text, label) != label]:
        raise WrongAnswer(f"{wrong[0]!r:.100} is {found[wrong[0]]} in a run, {known[wrong[0]]} by `predict`")


def _write(folder: Path, name: str, content: bytes) -> None:
    """The rows, and beside them what their file is called."""
    (folder / "rows").mkdir()
    (folder / "rows" / name).write_bytes(content)
    (folder / "asked.txt").write_text(name, "utf-8")


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], object], name: str = "rows.jsonl", content: bytes = ROWS) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(material.model, folder / "model")
            _write(folder, name, content)
            alter(folder)

        return spoil

    def model(alter: Callable[[Path], None]) -> Callable[[Path], object]:
        return lambda folder: alter(folder / "model")

    cases: dict[str, tuple[Spoil, Wants]] = {
        name: (case(model(alter)), "either" if name in _ITS_OWN else wants)
        for name, (alter, wants) in models.CASES.items()
    }
    for words, put in REPLACEMENTS.items():
        cases[f"in place of the rows: {words}"] = (
            case(lambda folder, put=put: put(folder / "rows/rows.jsonl")),
            "refused",
        )
        cases[f"in place of the lines: {words}"] = (
            case(lambda folder, put=put: put(folder / "rows/lines.txt"), "lines.txt", LINES),
            "refused",
        )
    for words, (name, content, wants) in FILES.items():
        cases[f"rows: {words}"] = case(lambda folder: None, name, content), wants

    def draw(random_: random.Random, folder: Path) -> str:
        name, content = random_.choice((("rows.jsonl", ROWS), ("lines.txt", LINES)))
        if random_.random() < 0.5:
            _write(folder, name, content)
            return altered_folder(random_, folder / "model", material.model)
        shutil.copytree(material.model, folder / "model")
        words, altered = altered_bytes(random_, content)
        _write(folder, name, altered)
        return f"{name}: {words}"

    return Surface("taken", ask, cases, draw, draws=100, places=("teacher.", "data.", "predict: ", "model: "))


FILES: dict[str, tuple[str, bytes, Wants]] = {
    "lines": ("lines.txt", LINES, "accepted"),
    "none": ("rows.jsonl", b"", "refused"),
    "no lines": ("lines.txt", b"\n \n", "refused"),
    "one": ("rows.jsonl", ROWS.split(b"\n")[0], "refused"),
    "without text": ("rows.jsonl", b'{"lang": "de"}\n', "refused"),
    "a number for text": ("rows.jsonl", b'{"text": 5, "lang": "de"}\n', "either"),
    "null for text": ("rows.jsonl", b'{"text": null, "lang": "de"}\n', "refused"),
    "a list for text": ("rows.jsonl", b'{"text": ["a"], "lang": "de"}\n', "refused"),
    "half of a surrogate pair": ("rows.jsonl", b'{"text": "\\ud800", "lang": "de"}\n', "refused"),
    "lines with zero bytes": ("lines.txt", b"a\0b\n", "refused"),
    "lines in UTF-16": ("lines.txt", "12:30".encode("utf-16"), "refused"),
    "of another kind": ("rows.docx", b"PK\x03\x04", "refused"),
}
