"""A tokenizer against the file that it was made of, read without transformers: the text is to be split as that says.

The class that transformers takes may be another one than the file was made for, and builds parts of it anew: so a
vocabulary is lost, or a normaliser, without a word.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from compress.contract import Contract

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from transformers import PreTrainedTokenizerBase

TOKENIZER_JSON = "tokenizer.json"
_UNKNOWN = "(unknown)"
_SHOWN_TEXT, _SHOWN_TOKENS = 30, 3

Encoded = Mapping[str, Sequence[tuple[str, Sequence[int]]]]
"""By language, texts and what a tokenizer made of each, special tokens left out."""


class TokenComparison(Contract):
    """How a tokenizer splits texts, compared with the file that it was made of."""

    file: str
    texts: int
    differing: int = Field(description="texts of which a token is another one")
    other_tokens: dict[str, float] = Field(
        description="share of the tokens that are others, 0 to 1, by language; those where there are none are left out"
    )
    example: str | None = Field(None, description="of the language with the largest share")


@dataclass(frozen=True)
class _Reference:
    """``wanted`` splits a text as the file says; ``named`` gives what the tokenizer made of it the same names."""

    file: str
    wanted: Callable[[str], list[str]]
    named: Callable[[Sequence[int]], list[str]]


def compare_with_file(tokenizer: PreTrainedTokenizerBase, folder: Path, encoded: Encoded) -> TokenComparison | None:
    """Compare what a tokenizer made of texts with what its file says.

    ``tokenizer.json`` is asked for numbers. A SentencePiece file is asked for pieces: their numbers are not always the
    model's (XLM-R's are one higher, after fairseq).

    :param folder: Where the tokenizer was loaded from.
    :return: Nothing where there is no such file.
    """
    reference = _tokenizer_json(folder) or _sentencepiece(folder, tokenizer)
    if reference is None:
        return None
    shares: dict[str, float] = {}
    examples: dict[str, str] = {}
    differing = 0
    for language, texts in encoded.items():
        others = tokens = 0
        for text, ids in texts:
            given, wanted = reference.named(ids), reference.wanted(text)
            tokens += max(len(given), len(wanted))
            if given == wanted:
                continue
            differing += 1
            others += max((Counter(given) - Counter(wanted)).total(), (Counter(wanted) - Counter(given)).total(), 1)
            examples.setdefault(language, _example(text, given, wanted))
        if others:
            shares[language] = others / tokens
    worst = max(shares, key=lambda language: shares[language], default=None)
    return TokenComparison(
        file=reference.file,
        texts=sum(map(len, encoded.values())),
        differing=differing,
        other_tokens=shares,
        example=examples[worst] if worst is not None else None,
    )


def _tokenizer_json(folder: Path) -> _Reference | None:
    from tokenizers import Tokenizer

    path = folder / TOKENIZER_JSON
    if not path.is_file():
        return None
    read = Tokenizer.from_file(str(path))
    read.no_truncation()
    read.no_padding()

    def named(ids: Sequence[int]) -> list[str]:
        return [read.id_to_token(token) or f"({token})" for token in ids]

    return _Reference(path.name, lambda text: named(read.encode(text, add_special_tokens=False).ids), named)


def sentencepiece_file(folder: Path) -> Path | None:
    """The file of a folder that SentencePiece reads; none where there are several, or it is of another kind."""
    files = list(folder.glob("*.model"))
    return files[0] if len(files) == 1 and _read_pieces(files[0]) else None


def _read_pieces(path: Path) -> SentencePieceProcessor | None:
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError):  # of another kind (tiktoken's)
        return None


def _sentencepiece(folder: Path, tokenizer: PreTrainedTokenizerBase) -> _Reference | None:
    path = sentencepiece_file(folder)
    read = _read_pieces(path) if path else None
    if path is None or read is None:
        return None

    def wanted(text: str) -> list[str]:
        pieces = read.encode(_prepared(text, tokenizer))
        return [_UNKNOWN if piece == read.unk_id() else read.id_to_piece(piece) for piece in pieces]

    def named(ids: Sequence[int]) -> list[str]:
        names = tokenizer.convert_ids_to_tokens(list(ids))
        return [_UNKNOWN if token == tokenizer.unk_token_id else name for token, name in zip(ids, names, strict=True)]

    return _Reference(path.name, wanted, named)


def _prepared(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """What a class does to text before SentencePiece reads it, by its own settings (ALBERT, XLNet)."""
    if not getattr(tokenizer, "keep_accents", True):
        text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return text.lower() if getattr(tokenizer, "do_lower_case", False) else text


def _example(text: str, given: Sequence[str], wanted: Sequence[str]) -> str:
    """The first tokens that differ, and where they begin."""
    first = next((place for place, (one, other) in enumerate(zip(given, wanted, strict=False)) if one != other), None)
    first = min(len(given), len(wanted)) if first is None else first

    def shown(tokens: Sequence[str]) -> str:
        return " ".join(tokens[first : first + _SHOWN_TOKENS]) or "nothing"

    return f"{text[:_SHOWN_TEXT]!r}: {shown(given)} instead of {shown(wanted)}"
