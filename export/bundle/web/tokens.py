"""The tokenizer in the browser: written so that JavaScript splits as Python does, and compared text by text."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.errors import CompressError, first_line

_SECONDS = 300
_WORD = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}" + "\u200c\u200d"
_WORDS = {
    "type": "Split",
    "pattern": {"Regex": rf"[{_WORD}]+|[^{_WORD}\s]+"},
    "behavior": "Removed",
    "invert": True,
}
"""What ``Whitespace`` does in Python: its ``\\w`` is Unicode's (UTS 18), that of JavaScript knows ASCII alone."""


def write_for_browsers(source: Path, target: Path) -> None:
    """Copy a ``tokenizer.json`` with ``Whitespace`` written out."""
    content = json.loads(source.read_text("utf-8"))
    content["pre_tokenizer"] = _written_out(content["pre_tokenizer"])
    target.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def _written_out(step: Any) -> Any:
    if not isinstance(step, dict):
        return step
    if step["type"] == "Whitespace":
        return _WORDS
    inner = {"pretokenizers": [_written_out(one) for one in step["pretokenizers"]]} if "pretokenizers" in step else {}
    return {**step, **inner}


def tokens_in_javascript(folder: Path, prefix: str, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """The numbers of each text's tokens, as the page of a folder makes them.

    :param texts: As somebody types them, in whatever form of Unicode.
    :raises CompressError: If transformers.js cannot open the tokenizer.
    """
    page = (folder / "page").resolve()
    question = json.dumps({"prefix": prefix, "texts": list(texts), "maxLength": max_length})
    command = ["node", "--no-warnings", str(page / "tokens.mjs"), str(page / "model.js")]
    try:
        done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise CompressError(f"--web: Node.js took longer than {_SECONDS} s to split {len(texts):,} texts") from error
    try:
        found: list[list[int]] = json.loads(done.stdout)
    except ValueError as error:
        words = [line for line in done.stderr.splitlines() if "Error" in line] or [first_line(error)]
        raise CompressError(f"--web: transformers.js cannot open this tokenizer: {words[0]:.200}") from error
    return found


def check_tokens(texts: Sequence[str], expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> None:
    """:raises CompressError: If a text has other tokens in JavaScript, naming the first and how many there are."""
    different = [text for text, one, other in zip(texts, expected, found, strict=True) if list(one) != list(other)]
    if different:
        raise CompressError(
            f"--web: transformers.js splits {len(different)} of {len(texts)} texts otherwise than Python, the first is "
            f"{different[0]!r:.80}; this tokenizer cannot be used in a browser"
        )
