"""What trimming must know of a tokenizer, whatever its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LanguageText = tuple[str, str]
"""A language and a text in it."""
Texts = Callable[[], Iterable[LanguageText]]
"""Text that is read from its beginning at each call, and need not fit into memory."""
_BATCH_TEXTS, _BATCH_CHARACTERS = 1000, 1_000_000
_OTHER_SHARE = 0.1


@dataclass(frozen=True)
class Anatomy:
    """A tokenizer as trimming sees it.

    :param numbers: Of its tokens.
    :param unknown: The token that stands for what no other does.
    :param required: Tokens without which it is none, or none for all text: special tokens, language codes, bytes.
    :param parts: Of a token: those that it is merged from, and its characters, by which new words can be spelled.
    :param split: The numbers of the tokens of each text.
    :param save: Save it into a folder without all tokens but those of the given numbers, which are ascending.
    """

    numbers: Mapping[str, int]
    unknown: str | None
    required: frozenset[str]
    parts: Callable[[str], Iterable[str]]
    split: Callable[[Sequence[LanguageText]], list[list[int]]]
    save: Callable[[Path, Sequence[int]], None]


@dataclass(frozen=True)
class Counts:
    """What was found in the text of a language: how many texts, and by a token's number how often, and in how many.

    ``weights`` are what each token counts where some are chosen: as often as it occurs, but less in other text.
    """

    texts: int
    tokens: np.ndarray
    texts_with: np.ndarray
    weights: np.ndarray


def anatomy_of(tokenizer: PreTrainedTokenizerBase) -> Anatomy:
    """Look at a tokenizer.

    :raises CompressError: If it is of a kind that cannot be trimmed.
    """
    from compress.models.vocabulary import fast, sentencepiece

    return fast.anatomy(tokenizer) if tokenizer.is_fast else sentencepiece.anatomy(tokenizer)


def count_tokens(anatomy: Anatomy, texts: Iterable[LanguageText]) -> dict[str, Counts]:
    """Count the tokens of each language's text, in the order in which languages are met."""
    counts: dict[str, np.ndarray] = {}  # of tokens, and of the texts with them
    numbers: Counter[str] = Counter()
    length = max(anatomy.numbers.values()) + 1
    for batch in batches(texts):
        for (language, _), found in zip(batch, anatomy.split(batch), strict=True):
            if language not in counts:
                counts[language] = np.zeros((2, length), dtype=np.int64)
            np.add.at(counts[language][0], found, 1)
            counts[language][1, found] += 1
            numbers[language] += 1
    return {language: Counts(numbers[language], both[0], both[1], both[0]) for language, both in counts.items()}


def with_other_text(counts: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    """Counts of text as it will be read, and of other text, which counts at most a tenth of it in a language: it tells
    what is common there, but not what is spoken of."""
    joined = {**other, **counts}
    for language in counts.keys() & other.keys():
        own, found = counts[language], other[language]
        share = min(1.0, _OTHER_SHARE * own.tokens.sum() / max(found.tokens.sum(), 1))
        weights = own.weights + share * found.weights
        joined[language] = replace(_sum([own, found]), weights=weights)
    return joined


def total_of(counts: Mapping[str, Counts]) -> Counts:
    """What was found in all languages together."""
    return _sum(list(counts.values()))


def _sum(counts: Sequence[Counts]) -> Counts:
    return Counts(
        texts=sum(found.texts for found in counts),
        tokens=np.sum([found.tokens for found in counts], axis=0),
        texts_with=np.sum([found.texts_with for found in counts], axis=0),
        weights=np.sum([found.weights for found in counts], axis=0),
    )


def batches(texts: Iterable[LanguageText]) -> Iterator[list[LanguageText]]:
    """Texts by so many as are split at once."""
    batch: list[LanguageText] = []
    characters = 0
    for language, text in texts:
        batch.append((language, text))
        characters += len(text)
        if len(batch) == _BATCH_TEXTS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
