"""Size, load time and latency of folders for browsers: ``python -m bench.studies.browsers WEB… [--picture FILE]``.

Each variant is opened in a headless Chromium of its own, which fetches everything from the loopback, libraries too;
then the examples of the page, one a language, are asked in turn, round after round, of which the first does not count.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.studies.chromium import ask_in_chromium, use_page
from compress.console import table
from compress.errors import CompressError
from compress.machine import cpu_features
from export.bundle.web.summary import WebExample, WebPack, WebVariant

_ROUNDS = 21
_WIDTH = 200


@dataclass(frozen=True)
class InBrowser:
    """A variant in the browser: milliseconds until it can be asked, and of each answer."""

    pack: WebPack
    variant: WebVariant
    load: float
    answers: Sequence[float]


def study(
    web: Annotated[list[Path], typer.Argument(help="Folders that `compress bundle --web` has packed.")],
    picture: Annotated[Path | None, typer.Option(help="Write a picture of the first one's page (PNG).")] = None,
) -> None:
    """Measure every variant, and print a table."""
    found = [measured(folder, variant) for folder in web for variant in read_pack(folder).variants]
    Console(width=_WIDTH).print(browsers_table(found, _browser_version(), cpu_features().cpu_name))
    if picture is not None:
        with TemporaryDirectory() as profile:
            use_page(web[0], Path(profile), picture=picture)


def read_pack(folder: Path) -> WebPack:
    """What a folder's page knows."""
    return WebPack.model_validate_json((folder / "page/pack.json").read_text("utf-8"))


def measured(folder: Path, variant: WebVariant) -> InBrowser:
    """Open a variant, and ask it.

    :raises CompressError: If the page cannot.
    """
    pack = read_pack(folder)
    questions = [question_of(pack, example) for example in pack.examples]
    with TemporaryDirectory() as profile:
        asked = {"variant": variant.name, "questions": questions * _ROUNDS}
        told = ask_in_chromium(folder, asked, Path(profile))
    if "error" in told:
        raise CompressError(f"{folder}: {variant.name}: {told['error']}")
    return InBrowser(pack, variant, told["load"], [one["milliseconds"] for one in told["answers"]][len(questions) :])


def question_of(pack: WebPack, example: WebExample) -> dict[str, Any]:
    """An example as the page asks it."""
    pair = {"text_pair": example.text_pair} if pack.model.pairs else {}
    return {"text": example.text, "way": example.way, **pair}


def browsers_table(found: Sequence[InBrowser], browser: str, processor: str) -> Table:
    """One row a variant."""
    rows = [
        (
            one.pack.model.task,
            one.variant.name,
            f"{one.variant.bytes / 1e6:.2f}",
            f"{one.load:,.0f}",
            f"{median(one.answers):.1f}",
            f"{sorted(one.answers)[round(0.95 * (len(one.answers) - 1))]:.1f}",
        )
        for one in found
    ]
    headings = ("task", "variant", "MB", "load ms", "p50 ms", "p95 ms")
    return table(f"In {browser}, one thread of {processor}", headings, rows, left=2)


def _browser_version() -> str:
    told = subprocess.run(["chromium", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    return " ".join(re.findall(r"Chromium|\d+(?=\.)", told)[:2])


if __name__ == "__main__":
    typer.run(study)
