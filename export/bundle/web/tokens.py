"""The tokenizer in the browser: written so that JavaScript splits as Python does, and compared text by text."""

from __future__ import annotations

import json
import subprocess
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field
from tokenizers import Tokenizer

from compress.contract import Contract
from compress.errors import CompressError, first_line
from compress.files import json_object
from compress.tasks.contract import Encode, Example, Task
from compress.tasks.rows import Row
from export.bundle.web.summary import WebPack, WebWay
from export.bundle.web.ways import way_of

_SECONDS = 300
_TOKENIZER, _SETTINGS, _CLEAN_UP = "tokenizer.json", "tokenizer_config.json", "clean_up_tokenization_spaces"
_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}" + "\u200c\u200d"
_WORDS = {
    "type": "Split",
    "pattern": {"Regex": rf"[{_WORD}]+|[^{_WORD}\s]+"},
    "behavior": "Removed",
    "invert": True,
}
"""What ``Whitespace`` does in Python: its ``\\w`` is Unicode's (UTS 18), that of JavaScript knows ASCII alone."""
_JOINER, _NO_CHARACTER = "\u200d", "\ufdd0"


class WebQuestion(Contract):
    """What the page is asked with."""

    text: str | list[str]
    text_pair: str | None
    way: str


class WebReading(Contract):
    """What the model reads at once: token numbers and types; with what a translation begins; whose word begins at each
    token, or where it stands in the context (-1: nowhere)."""

    ids: list[int]
    types: list[int]
    prompt: list[int] = Field(default_factory=list)
    words: list[int] | None = None
    starts: list[int] | None = None
    ends: list[int] | None = None


class WebRead(Contract):
    """What becomes of a question: examples, or an error."""

    examples: list[WebReading] = Field(default_factory=list)
    error: str | None = None


class WebTold(Contract):
    """What the page makes of questions, and of tokens that were written."""

    read: list[WebRead]
    texts: list[str]


def write_for_browsers(source: Path, target: Path) -> None:
    """Copy a tokenizer's two files with what JavaScript takes otherwise written out: ``Whitespace``, joiners that
    SentencePiece's normalisation keeps, and spaces before punctuation, which it takes out where nothing is said.

    :param source: A model's folder.
    :param target: Another one.
    """
    settings = {_CLEAN_UP: False, **json_object(source / _SETTINGS)}
    (target / _SETTINGS).write_text(json.dumps(settings, ensure_ascii=False), "utf-8")
    content = json.loads((source / _TOKENIZER).read_text("utf-8"))
    content["pre_tokenizer"] = _written_out(content["pre_tokenizer"])
    normalizer = Tokenizer.from_file(str(source / _TOKENIZER)).normalizer
    if normalizer is not None and _JOINER in normalizer.normalize_str(f"a{_JOINER}b"):
        content["normalizer"] = _with_joiners(content["normalizer"])
    (target / _TOKENIZER).write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _with_joiners(step: Any) -> Any:
    """``Precompiled`` between two steps that hide joiners, which it takes for space in JavaScript."""
    if step["type"] == "Precompiled":
        hide, show = (
            {"type": "Replace", "pattern": {"String": one}, "content": other}
            for one, other in ((_JOINER, _NO_CHARACTER), (_NO_CHARACTER, _JOINER))
        )
        return {"type": "Sequence", "normalizers": [hide, step, show]}
    if "normalizers" not in step:
        return step
    return {**step, "normalizers": [_with_joiners(one) for one in step["normalizers"]]}


def _written_out(step: Any) -> Any:
    if not isinstance(step, dict):
        return step
    if step["type"] == "Whitespace":
        return _WORDS
    inner = {"pretokenizers": [_written_out(one) for one in step["pretokenizers"]]} if "pretokenizers" in step else {}
    return {**step, **inner}


def questions_about(task: Task, rows: Sequence[Row], ways: Sequence[WebWay]) -> list[WebQuestion]:
    """What the page is asked with to read some rows."""
    return [WebQuestion(text=row.text, text_pair=row.text_pair, way=way_of(task, row, ways)) for row in rows]


def typed_otherwise(question: WebQuestion) -> WebQuestion:
    """The same as somebody may type it: in another form of Unicode, with space around it."""
    if isinstance(question.text, list):
        return question.model_copy(update={"text": [unicodedata.normalize("NFD", word) for word in question.text]})
    text, pair = (
        None if part is None else f"\u00a0{unicodedata.normalize('NFD', part)}\x1f\n"
        for part in (question.text, question.text_pair)
    )
    return question.model_copy(update={"text": text, "text_pair": pair})


def told_in_javascript(
    folder: Path, pack: WebPack, questions: Sequence[WebQuestion], written: Sequence[Sequence[int]] = ()
) -> WebTold:
    """What the page of a folder makes of each question, and of tokens that a translator has written.

    :raises CompressError: If transformers.js cannot open the tokenizer.
    """
    page = (folder / "page").resolve()
    asked = {
        "pack": pack.model_dump(mode="json"),
        "questions": [one.model_dump(mode="json") for one in questions],
        "written": [list(tokens) for tokens in written],
    }
    command = ["node", "--no-warnings", str(page / "tokens.mjs"), f"{page}/"]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=json.dumps(asked), capture_output=True, text=True, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise CompressError(
            f"--web: Node.js took longer than {_SECONDS} s to split {len(questions):,} texts"
        ) from error
    try:
        return WebTold.model_validate_json(done.stdout)
    except ValueError as error:
        words = [line for line in done.stderr.splitlines() if "Error" in line] or [first_line(error)]
        raise CompressError(f"--web: transformers.js cannot open this tokenizer: {words[0]:.200}") from error


def read_in_python(encode: Encode, row: Row) -> WebRead:
    """What a model reads of a row, as the page tells it."""
    return WebRead(examples=[_read(example) for example in encode([row])])


def _read(example: Example) -> WebReading:
    ids = example["input_ids"]
    told = {name: example[name] for name in ("prompt", "words", "starts", "ends") if name in example}
    return WebReading(ids=ids, types=example.get("token_type_ids") or [0] * len(ids), **told)


def check_tokens(questions: Sequence[WebQuestion], expected: Sequence[WebRead], found: Sequence[WebRead]) -> None:
    """:raises CompressError: If something else is read of a question in JavaScript, naming the first and how many there
    are."""
    pairs = zip(questions, expected, found, strict=True)
    different = [(question, there) for question, here, there in pairs if here != there]
    if different:
        question, told = different[0]
        text = question.text_pair if question.text_pair and told.error else question.text
        reason = f" ({told.error:.100})" if told.error else ""
        raise CompressError(
            f"--web: transformers.js splits {len(different)} of {len(questions)} texts otherwise than Python, the "
            f"first is {text!r:.80}{reason}; this tokenizer cannot be used in a browser"
        )


def check_texts(expected: Sequence[str], found: Sequence[str]) -> None:
    """:raises CompressError: If tokens that a translator writes are another text in JavaScript, naming the first."""
    different = [(here, there) for here, there in zip(expected, found, strict=True) if here != there]
    if different:
        here, there = different[0]
        raise CompressError(
            f"--web: transformers.js makes other texts of {len(different)} of {len(expected)} translations than "
            f"Python, of {here!r:.60} it makes {there!r:.60}; this tokenizer cannot be used in a browser"
        )
