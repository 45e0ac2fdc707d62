"""`compress predict`: what a model says of some texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compress.cli.options import Json, Revision, Subfolder, Token, TrustRemoteCode, Verbose, access
from compress.cli.outcome import finish, show
from compress.errors import CompressError
from compress.extras import require

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.table import Table

    from compress.cli.results import PredictResult, Said
    from compress.serving.client import Model

EPILOG = (
    "Examples:\n\n"
    '  compress predict artifacts/latest "a text" "another"   what the run exports\n\n'
    "  compress predict bundle --file rows.jsonl --json\n\n"
    "  compress predict my-model/ < lines.txt                 a model of your own, a text a line\n\n"
    '  compress predict reranker/ "a query" --pair "a passage" --pair "another"   the best first'
)
_NUMBERS_SHOWN = 4  # of a vector
_LINES = ".txt"
_MOST_SHOWN = 80  # characters of a text in the table


@dataclass(frozen=True)
class Asked:
    """What a model is asked about: texts, or lists of words, and what comes with each."""

    texts: list[Any]
    text_pairs: list[str] | None = None
    languages: Sequence[str] | str | None = None


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE|MODEL", help="Folder, or hub id of a model.")],
    text: Annotated[list[str] | None, typer.Argument(help="Texts.", show_default="lines of standard input")] = None,
    file: Annotated[Path | None, typer.Option(help="Rows (.jsonl, .csv, .parquet) or lines (.txt).")] = None,
    pair: Annotated[
        list[str] | None, typer.Option(help="Second text, context or passage, of each text or of all; can be repeated.")
    ] = None,
    languages: Annotated[str | None, typer.Option(help="For translation: en-de.")] = None,
    variant: Annotated[str | None, typer.Option(help="Which model of a run or bundle.")] = None,
    task: Annotated[str | None, typer.Option(help="What a MODEL is for.", show_default="as it tells")] = None,
    revision: Revision = None,
    subfolder: Subfolder = None,
    token: Token = None,
    trust_remote_code: TrustRemoteCode = False,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask the model of a run or bundle, or any other, about texts."""

    def work() -> PredictResult:
        require("compress predict", "cpu")
        if file and (text or pair):
            raise CompressError("--file: its rows are what is asked; leave out texts and --pair")
        from compress.console import quiet_transformers, working
        from compress.recipe.file import load_recipe
        from compress.serving.opened import open_to_try
        from compress.tasks.registry import task_called

        quiet_transformers()
        wanted = task_called(task) if task else None
        reached = access(revision, subfolder, token, trust_remote_code)
        settings = load_recipe(None, {"teacher.model": str(model), "teacher.fine_tune": False, **reached}).teacher
        pairs = _has_pairs(file) if file else bool(pair)
        with working(f"predict: opening {model}"):
            opened = open_to_try(settings, variant, wanted, pairs=pairs)
        asked = rows_to_ask(opened, file, languages) if file else _asked(opened, text, pair, languages)
        return _answered(opened, asked, json_, ranked=file is None)

    finish(work, json_, verbose)


def _answered(model: Model, asked: Asked, in_json: bool, *, ranked: bool = False) -> PredictResult:
    """Ask a model, and show what it says.

    :param ranked: The passages of a query stand in the order of their scores; rows of a file stay in theirs.
    """
    from compress.cli.results import PredictResult, Said

    if model.description.pairs != (asked.text_pairs is not None):
        wanted = "pairs: give the second text of each with --pair, or rows with both in --file"
        raise CompressError(
            f"predict: {model.description.name} reads "
            + (wanted if model.description.pairs else "single texts: leave out --pair")
        )
    answers = model.predict(asked.texts, asked.text_pairs, asked.languages)
    count = len(answers)
    pairs: Sequence[str | None] = asked.text_pairs or [None] * count
    languages: Sequence[str | None] = asked.languages or [None] * count
    if isinstance(asked.languages, str):
        languages = [asked.languages] * count
    said = [
        Said(text=text, text_pair=pair, languages=lang, prediction=found.prediction, probabilities=found.probabilities)
        for text, pair, lang, found in zip(asked.texts, pairs, languages, answers, strict=True)
    ]
    if ranked and model.description.activation and len({*asked.texts}) == 1:
        said.sort(key=lambda one: -_number(one.prediction))  # the best first
    show([_scores_table(said) if model.description.activation else _table(said)], in_json)
    return PredictResult(model=model.description.name, task=model.description.task, answers=said)


def _asked(model: Model, texts: Sequence[str] | None, pairs: Sequence[str] | None, languages: str | None) -> Asked:
    """Texts of the command line or, without them, one a line of standard input.

    :param pairs: The second text of each, or one for all.
    :raises CompressError: If there are none.
    """
    if not texts and sys.stdin.isatty():
        raise CompressError("predict: nothing to read: give texts, --file, or lines on standard input")
    try:
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")  # type: ignore[union-attr]
        given = list(texts or []) or [line.strip() for line in sys.stdin if line.strip()]
    except UnicodeDecodeError as error:
        raise CompressError(f"standard input: not UTF-8 text ({error.reason} at byte {error.start})") from error
    if not given:
        raise CompressError("predict: standard input has no lines; give texts, --file, or lines on standard input")
    second = [*(pairs or [])] * (len(given) if pairs and len(pairs) == 1 else 1)
    if model.description.activation and len(given) == 1:  # a query, and what is ranked for it
        given *= max(len(second), 1)
    return Asked(_as_read(model, given), second or None, languages)


def _has_pairs(path: Path) -> bool:
    """Whether a file's rows have a second text under its usual name."""
    from compress.data.read import read_file

    return path.suffix != _LINES and any(content.get("text_pair") is not None for _, content in read_file(path))


def rows_to_ask(model: Model, path: Path, languages: str | None) -> Asked:
    """The rows of a file, with the task's fields; of a plain text, its lines.

    :raises CompressError: If it cannot be read, or a row lacks a field.
    """
    if path.suffix == _LINES:
        return Asked(_as_read(model, _lines(path)), None, languages)
    from compress.data.read import read_file
    from compress.tasks.registry import task_named

    fields = task_named(model.description.task).FIELDS
    rows = list(read_file(path))
    if not rows:
        raise CompressError(f"{path}: there are no rows")
    texts, second = [_field(row, fields["text"]) for row in rows], fields.get("text_pair", "text_pair")
    pairs = [str(_field(row, second)) for row in rows] if model.description.pairs else None
    if languages is not None or "source_lang" not in fields:
        return Asked(texts, pairs, languages)
    ends = ([str(_field(row, fields[end])).replace("-", "_") for row in rows] for end in ("source_lang", "target_lang"))
    return Asked(texts, pairs, list(map("-".join, zip(*ends, strict=True))))


def _lines(path: Path) -> list[str]:
    from compress.data.plain_text import TextFile, read_texts

    if not path.is_file():
        raise CompressError(f"{path}: no such file")
    lines = [text.strip() for _, text in read_texts([TextFile(path, "")])]
    if not lines:
        raise CompressError(f"{path}: there are no lines")
    return lines


def _field(row: tuple[str, Mapping[str, Any]], name: str) -> Any:
    place, content = row
    if content.get(name) is None:
        raise CompressError(f"{place}: field '{name}' is missing; it has {', '.join(map(str, content)) or 'nothing'}")
    return content[name]


def _as_read(model: Model, texts: Iterable[str]) -> list[Any]:
    """Texts as the task reads them: where words have labels, those that spaces set apart."""
    from compress.tasks.registry import task_named

    words = task_named(model.description.task).FIELDS["text"] == "tokens"
    return [text.split() if words else text for text in texts]


def _number(content: JsonValue) -> float:
    return content if isinstance(content, float) else 0.0


def _scores_table(said: Sequence[Said]) -> Table:
    """A row a passage, with its score."""
    from compress.console import table, visible

    cells = [[visible(f"{text:.{_MOST_SHOWN}}") for text in (str(one.text), one.text_pair or "")] for one in said]
    rows = [[*texts, f"{_number(one.prediction):.4f}"] for texts, one in zip(cells, said, strict=True)]
    return table("Scores", ["query", "passage", "score"], rows, left=2)


def _table(said: Sequence[Said]) -> Table:
    """A row a text: what the model says and, where that is one label, how sure it is."""
    from compress.console import table, visible

    def words(content: JsonValue) -> str:
        if isinstance(content, list) and content and isinstance(content[0], float):
            return f"{', '.join(f'{value:.4f}' for value in content[:_NUMBERS_SHOWN])}, … ({len(content)} numbers)"
        return visible(" ".join(map(str, content)) if isinstance(content, list) else str(content))

    rows = [[f"{words(one.text):.{_MOST_SHOWN}}", words(one.prediction)] for one in said]
    sure = [(one.probabilities or {}).get(one.prediction) if isinstance(one.prediction, str) else None for one in said]
    if not any(sure):
        return table("Predictions", ["text", "prediction"], rows, left=2)
    shown = [[*cells, f"{100 * (share or 0.0):.1f} %"] for cells, share in zip(rows, sure, strict=True)]
    return table("Predictions", ["text", "prediction", "sure"], shown, left=2)
