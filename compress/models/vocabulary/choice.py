"""Which tokens are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from compress.errors import CompressError
from compress.models.vocabulary.anatomy import Anatomy, Counts, total_of
from compress.recipe.teacher import Vocabulary

_UNUSED = re.compile(r"\[unused\d+\]")  # places that BERT's vocabularies hold free: no text is split into them


def chosen_tokens(
    anatomy: Anatomy, counts: Mapping[str, Counts], settings: Vocabulary, required: Collection[int]
) -> list[int]:
    """Tokens that the text uses, with all that they are merged from and their characters, and those that are needed.

    :param counts: Of each language's text.
    :param required: Numbers of tokens that the model asks for.
    :return: Their numbers, ascending.
    :raises CompressError: If there is no such token, or no room for those that are needed.
    """
    names = {number: token for token, number in anatomy.numbers.items()}
    unknown = [token for token in settings.keep if token not in anatomy.numbers]
    if unknown:
        raise CompressError(
            f"keep: '{unknown[0]}' is no token of this model; write it as its tokenizer does, as in "
            f"'{max(anatomy.numbers, key=len)[:40]}'"
        )
    kept = {*anatomy.required, *settings.keep, *(names[number] for number in required if number in names)}
    most = settings.tokens or len(names)
    if len(kept) > most:
        raise CompressError(
            f"tokens: {most:,} are fewer than the {len(kept):,} that are always kept (special tokens, language codes, "
            "bytes, and what is asked for)"
        )
    always, used = frozenset(kept), _ranked(counts, settings)
    for number in used:
        added = _with_parts(anatomy, names[number], kept)
        if len(kept) + len(added) > most:
            break
        kept |= added
    if len(kept) == len(always):
        raise CompressError(
            "trimming would drop all tokens but special ones and bytes: the text uses no other, or not often enough; "
            "give text that the model reads, lower minimum_count, or raise coverage or tokens"
        )
    if settings.fill:
        spelled = {names[number] for number in used if len(names[number]) == 1} & always  # bytes of the text
        kept |= _usual(anatomy, (kept - always) | spelled, kept, most)
    return sorted(anatomy.numbers[token] for token in kept)


def _ranked(counts: Mapping[str, Counts], settings: Vocabulary) -> list[int]:
    """The tokens that the text uses often enough, those first without which a language loses most.

    A token's place is the share of a language's text that is made up of more frequent tokens, in the language where
    that is least: however many are taken, all languages keep the same share of their text.
    """
    total = total_of(counts).tokens
    place = np.full(len(total), np.inf)
    for found in counts.values():
        order = np.argsort(-found.weights, kind="stable")
        ordered = found.weights[order]
        before = (np.cumsum(ordered) - ordered) / (ordered.sum() or 1)  # text may have no token at all
        place[order] = np.minimum(place[order], np.where(ordered > 0, before, np.inf))
    used = np.flatnonzero((total >= settings.minimum_count) & (place < settings.coverage))
    ranked: list[int] = used[np.lexsort((-total[used], place[used]))].tolist()
    return ranked


def _usual(anatomy: Anatomy, used: Collection[str], kept: Collection[str], most: int) -> set[str]:
    """Tokens that are made of the characters of those that the text uses, as many as there is room for.

    They are taken by their numbers, which follow frequency in the text that a tokenizer was trained on: by probability
    where it is a Unigram, by when they were merged or found where it is byte pairs or WordPiece.
    """
    characters = {character for token in used for character in token}
    found = set(kept)
    for token in sorted(anatomy.numbers, key=anatomy.numbers.__getitem__):
        if token not in found and characters.issuperset(token) and not _UNUSED.fullmatch(token):
            added = _with_parts(anatomy, token, found)
            if len(found) + len(added) > most:
                break
            found |= added
    return found


def _with_parts(anatomy: Anatomy, token: str, kept: Collection[str]) -> set[str]:
    """A token and its parts, and theirs, as far as they are not kept already."""
    waiting, found = [token], set[str]()
    while waiting:
        part = waiting.pop()
        if part not in kept and part not in found:
            found.add(part)
            waiting += anatomy.parts(part)
    return found
