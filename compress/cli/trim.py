"""`compress trim`: its options, what it does, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli.options import (
    Json,
    Overrides,
    Revision,
    Subfolder,
    Token,
    TrustRemoteCode,
    Verbose,
    access,
    given,
)
from compress.cli.outcome import finish, show
from compress.extras import require

if TYPE_CHECKING:
    from rich.table import Table

    from compress.cli.results import TrimResult

EPILOG = (
    "Examples:\n\n"
    "  compress trim e5/ --text corpus/ --output e5-trimmed\n\n"
    "  compress trim e5/ --text de=news.txt --text rows.jsonl --output e5-trimmed --tokens 25000\n\n"
    "  compress trim e5/ --text corpus/ --report-text other/ --max-loss 0.5 --output e5-trimmed"
)


def trim(
    model: Annotated[str, typer.Argument(help="Model folder or hub id.")],
    text: Annotated[
        list[str],
        typer.Option(
            metavar="FILES",
            help="Text of the languages to keep: files (a text a line; .jsonl, .csv, .parquet: rows), folders, or "
            "de=FILE; can be repeated.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the trimmed model; a new one.")],
    tokens: Annotated[
        int | None,
        typer.Option(help="Keep at most this many, so that all languages keep the same share of their text."),
    ] = None,
    minimum_count: Annotated[int | None, typer.Option(help="Keep tokens that the text uses this often.")] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Keep the most frequent tokens of this share (0 to 1) of each language's text.")
    ] = None,
    fill: Annotated[
        bool,
        typer.Option(
            "--fill", help="Where the text uses fewer than --tokens, keep other usual ones of its characters."
        ),
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="TOKEN", help="Keep this token in any case; can be repeated.")
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Refuse to lose more of the tokens of any language of --text."),
    ] = None,
    report_text: Annotated[
        list[str] | None,
        typer.Option(metavar="FILES", help="Other text, which shows what is lost, of languages left out too."),
    ] = None,
    revision: Revision = None,
    subfolder: Subfolder = None,
    token: Token = None,
    trust_remote_code: TrustRemoteCode = False,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Drop the tokens that your languages' text does not use from a model and its tokenizer; nothing is trained."""
    settings = {
        "teacher.model": model,
        "teacher.vocabulary.trim": True,
        "teacher.vocabulary.tokens": tokens,
        "teacher.vocabulary.minimum_count": minimum_count,
        "teacher.vocabulary.coverage": coverage,
        "teacher.vocabulary.fill": fill or None,
        "teacher.vocabulary.keep": keep,
        "teacher.vocabulary.max_loss": max_loss,
    }

    def work() -> TrimResult:
        require("compress trim", "distill")
        reached = access(revision, subfolder, token, trust_remote_code)
        return _trim(given(settings) | reached, output, text, report_text or [], json_)

    finish(work, json_, verbose)


def _trim(
    settings: Overrides, output: Path, text: Sequence[str], report_text: Sequence[str], in_json: bool
) -> TrimResult:
    from compress.cli.results import TrimResult
    from compress.console import quiet_transformers
    from compress.data.plain_text import read_texts, text_files
    from compress.recipe.file import load_recipe

    teacher = load_recipe(None, settings).teacher
    used, reported = (text_files(sources) for sources in (text, report_text))
    quiet_transformers()
    from compress.models.vocabulary.folder import trim_model

    summary = trim_model(teacher, output, partial(read_texts, used), partial(read_texts, reported))
    result = TrimResult(output=str(output), **dict(summary))
    show([_table(result), _line(result)], in_json)
    return result


def _table(result: TrimResult) -> Table:
    """What each language loses: of the text that says what is kept, and of the other."""
    from compress.console import table

    rows = [
        (
            language,
            "text",
            f"{loss.texts:,}",
            f"{loss.tokens:,}",
            _percent(loss.lost_share),
            _percent(loss.changed_share),
            _percent(loss.expected_share),
        )
        for language, loss in result.used.items()
    ] + [
        (
            language,
            "report text",
            f"{loss.texts:,}",
            f"{loss.tokens:,}",
            _percent(loss.lost_share),
            _percent(loss.changed_share),
            "",
        )
        for language, loss in result.held_out.items()
    ]
    headings = ("language", "of", "texts", "tokens", "tokens lost", "texts split differently", "expected of new text")
    return table("What is lost", headings, rows, left=2)


def _line(result: TrimResult) -> str:
    kept = f"{result.tokens_after:,} of {result.tokens_before:,} rows kept"
    return f"{result.output}: {kept}, {result.saved_megabytes:,.1f} MB saved"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
