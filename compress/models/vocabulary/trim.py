"""Vocabulary trimming: a tokenizer and a model without the tokens that the target languages' text does not use.

The vocabulary is most of a multilingual model. Each token's text is left as it was, so that texts whose tokens are all
kept are split as before, and the model says the same about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import CompressError
from compress.models.describe import embeddings_of
from compress.models.vocabulary.anatomy import (
    Anatomy,
    Counts,
    LanguageText,
    Texts,
    anatomy_of,
    batches,
    count_tokens,
    total_of,
    with_other_text,
)
from compress.models.vocabulary.choice import chosen_tokens
from compress.models.vocabulary.summary import TextLoss, TrimmingSummary, UsedText
from compress.models.vocabulary.weights import drop_rows, fixed_tokens
from compress.recipe.teacher import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MOST_UNKNOWN = 0.5


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Texts,
    held_out: Texts,
    settings: Vocabulary,
    folder: Path,
    other: Texts = tuple,
) -> tuple[PreTrainedTokenizerBase, TrimmingSummary]:
    """Keep the tokens that the text uses, drop the rest from tokenizer, embeddings, head and configuration.

    :param model: It is changed, not copied, once all else has gone well.
    :param texts: Text of each language, which says what is used.
    :param held_out: Other text, of these languages or others, which tells what is lost.
    :param folder: Where the trimmed tokenizer is saved; SentencePiece's tokenizers go on reading from there.
    :param other: More text that says what is used, if not of the kind that the model will read: it counts less.
    :return: The trimmed tokenizer, and what has changed.
    :raises CompressError: If the tokenizer is of a kind that cannot be trimmed, if nothing would be left, or if a
        language loses more than allowed.
    """
    anatomy = anatomy_of(tokenizer)
    counts = count_tokens(anatomy, texts())
    if not counts:
        raise CompressError("trimming: there is no text that could say what is used")
    counts = with_other_text(counts, count_tokens(anatomy, other()))
    _check_known(anatomy, counts)
    kept = chosen_tokens(anatomy, counts, settings, fixed_tokens(model))
    used = _used(anatomy, counts, lambda: chain(texts(), other()), kept, settings.minimum_count)
    lost = _losses(anatomy, held_out(), kept)
    _check_loss(used, lost, settings.max_loss)
    anatomy.save(folder, kept)
    trimmed = type(tokenizer).from_pretrained(folder)
    _check_tokenizer(anatomy, anatomy_of(trimmed), kept, texts())
    before = embeddings_of(model).shape[0]
    saved = drop_rows(model, kept)
    return trimmed, TrimmingSummary(
        tokens_before=before,
        tokens_after=len(kept),
        saved_megabytes=round(saved / 1e6, 2),
        used=used,
        held_out=lost,
    )


def _check_known(anatomy: Anatomy, counts: Mapping[str, Counts]) -> None:
    """Refuse text in a language that the tokenizer does not read: hardly anything of it would be kept."""
    if anatomy.unknown is None:
        return
    for language, found in counts.items():
        share = found.tokens[anatomy.numbers[anatomy.unknown]] / max(found.tokens.sum(), 1)
        if share >= _MOST_UNKNOWN:
            raise CompressError(
                f"trimming: the tokenizer does not know {100 * share:.1f} % of the tokens in {language}; give text in "
                "languages that the model reads"
            )


def _used(
    anatomy: Anatomy, counts: Mapping[str, Counts], texts: Texts, kept: Sequence[int], minimum_count: int
) -> dict[str, UsedText]:
    """What the text loses that says what is kept, and new text of its kind will."""
    total = total_of(counts)
    is_kept, is_needed = (_marked(numbers, len(total.tokens)) for numbers in (kept, _required(anatomy)))
    # Without one of the texts that it is in, it would not be kept.
    others = total.tokens - total.tokens / np.maximum(total.texts_with, 1)
    is_frail = is_kept & ~is_needed & (others < minimum_count)
    changed = {} if is_kept[total.tokens > 0].all() else _losses(anatomy, texts(), kept)
    described = {}
    for language, found in sorted(counts.items()):
        tokens, lost, frail = (int(found.tokens[which].sum()) for which in (slice(None), ~is_kept, is_frail))
        described[language] = UsedText(
            texts=found.texts,
            tokens=tokens,
            lost_share=_share(lost, tokens),
            changed_share=changed[language].changed_share if changed else 0.0,
            expected_share=_share(lost + frail, tokens),
        )
    return described


def _losses(anatomy: Anatomy, texts: Iterable[LanguageText], kept: Sequence[int]) -> dict[str, TextLoss]:
    """What text loses, by language: a text is split differently if one of its tokens is gone."""
    is_kept = _marked(kept, max(anatomy.numbers.values()) + 1)
    figures: dict[str, np.ndarray] = {}
    for batch in batches(texts):
        for (language, _), found in zip(batch, anatomy.split(batch), strict=True):
            gone = len(found) - int(is_kept[found].sum()) if found else 0
            figures.setdefault(language, np.zeros(4, dtype=np.int64))
            figures[language] += (1, len(found), gone, gone > 0)
    return {
        language: TextLoss(
            texts=texts, tokens=tokens, lost_share=_share(lost, tokens), changed_share=_share(changed, texts)
        )
        for language, (texts, tokens, lost, changed) in sorted(
            (language, found.tolist()) for language, found in figures.items()
        )
    }


def _check_loss(used: Mapping[str, UsedText], held_out: Mapping[str, TextLoss], most: float | None) -> None:
    """Refuse a loss in a language that the text is in: as other text of it tells, or else as is to be expected."""
    if most is None:
        return
    shares = {
        language: held_out[language].lost_share if language in held_out else text.expected_share
        for language, text in used.items()
    }
    worst = max(shares, key=lambda language: shares[language])
    if 100 * shares[worst] > most:
        told = "held-out text" if worst in held_out else "new text, as far as this text tells,"
        raise CompressError(
            f"max_loss: {worst} would lose {100 * shares[worst]:.2f} % of the tokens of {told} where {most:g} % are "
            f"allowed; give more text in {worst}, lower minimum_count, or raise coverage or tokens"
        )


def _check_tokenizer(before: Anatomy, after: Anatomy, kept: Sequence[int], texts: Iterable[LanguageText]) -> None:
    """See whether the trimmed tokenizer, loaded again, is what it should be: its class may have other ideas.

    :raises CompressError: If its tokens have other numbers, or texts whose tokens are all kept are split differently.
    """
    renumbered = {old: new for new, old in enumerate(kept)}
    expected = {token: renumbered[old] for token, old in before.numbers.items() if old in renumbered}
    sample = next(batches(texts))
    wanted = [[renumbered.get(number) for number in found] for found in before.split(sample)]
    pairs = zip(wanted, after.split(sample), strict=True)
    if after.numbers != expected or any(None not in old and old != new for old, new in pairs):
        raise CompressError(
            "trimming: the trimmed tokenizer is not read again as it was written; the class in tokenizer_config.json "
            "does not fit the tokenizer.json: name the one that belongs to it, or PreTrainedTokenizerFast"
        )


def _required(anatomy: Anatomy) -> list[int]:
    return [anatomy.numbers[token] for token in anatomy.required]


def _marked(numbers: Sequence[int], length: int) -> np.ndarray:
    marks = np.zeros(length, dtype=bool)
    marks[list(numbers)] = True
    return marks


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
