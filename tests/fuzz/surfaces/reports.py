"""Bench reports, which somebody else's machine may have written: what a run is compared with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from attempts import Spoil, Surface, Wants
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_file
from small_reports import small_model, small_report

from compress.reports.bench import read_report

NAME = "report.json"


def written(path: Path) -> None:
    """A report of two models."""
    path.write_text(small_report(("student", small_model("student"))).as_text(), "utf-8")


def draw(random_: random.Random, folder: Path) -> str:
    """The file altered, or something else in its place."""
    written(folder / NAME)
    return altered_file(random_, folder / NAME)


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], object]) -> Spoil:
        def spoil(folder: Path) -> None:
            written(folder / NAME)
            alter(folder / NAME)

        return spoil

    texts = ("", "{}", "[]", "null", DEEP, '{"schema": null}', json.dumps({"schema": 4, "run": "x"}))
    cases: dict[str, tuple[Spoil, Wants]] = {
        "unaltered": (case(lambda path: None), "accepted"),
        **{
            f"a report of {text!r:.30}": (case(lambda path, text=text: path.write_text(text, "utf-8")), "refused")
            for text in texts
        },
        **{f"in its place: {words}": (case(put), "refused") for words, put in REPLACEMENTS.items()},
    }
    return Surface("reports", lambda folder: read_report(folder / NAME), cases, draw, draws=300)
