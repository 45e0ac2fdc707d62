"""Vocabulary trimming: a tokenizer and a model without the tokens that the target languages' text does not use.

The vocabulary is most of a multilingual model. Each token's text is left as it was, so that texts whose tokens are all
kept are split as before, and the model says the same about them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from compress.contract import Contract
from compress.errors import CompressError
from compress.models.describe import embeddings_of
from compress.recipe.teacher import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast


class TrimmingSummary(Contract):
    """What trimming has changed."""

    tokens_before: int
    tokens_after: int
    saved_megabytes: float
    lost_share: dict[str, float] = Field(description="of the tokens of each language's text that nothing was chosen by")


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Mapping[str, Sequence[str]],
    held_out: Mapping[str, Sequence[str]],
    settings: Vocabulary,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, TrimmingSummary]:
    """Keep the tokens that the text uses, drop the rest from tokenizer and embeddings.

    :param texts: Texts of each language, which say what is used.
    :param held_out: Other texts of each language, which tell what is lost.
    :return: The smaller model and tokenizer, and what has changed.
    :raises CompressError: If the tokenizer is not one of the tokenizers library.
    """
    from skeletoken import TokenizerModel
    from skeletoken.external.transformers import reshape_embeddings

    if not tokenizer.is_fast:
        raise CompressError("teacher.vocabulary.trim: this tokenizer has no tokenizer.json and cannot be trimmed")
    counts = {language: _token_counts(tokenizer, rows) for language, rows in texts.items()}
    kept = _kept_tokens(tokenizer, counts, settings)
    description = TokenizerModel.from_tokenizer(tokenizer.backend_tokenizer)
    trimmed = description.remove_tokens_from_vocabulary(
        [token for token in description.sorted_vocabulary if token not in kept]
    )
    before = embeddings_of(model)
    smaller = reshape_embeddings(model, trimmed)
    after = embeddings_of(smaller)
    report = TrimmingSummary(
        tokens_before=before.shape[0],
        tokens_after=after.shape[0],
        saved_megabytes=round((before.numel() - after.numel()) * before.element_size() / 1e6, 2),
        lost_share={
            language: _lost_share(_token_counts(tokenizer, rows), kept) for language, rows in sorted(held_out.items())
        },
    )
    return smaller, _as_transformers(trimmed.to_tokenizer(), tokenizer), report


def _token_counts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Counter[str]:
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), 1000):
        encoded = tokenizer(list(texts[start : start + 1000]), add_special_tokens=False, truncation=False)
        for ids in encoded["input_ids"]:
            counts.update(ids)
    return Counter({str(tokenizer.convert_ids_to_tokens(index)): number for index, number in counts.items()})


def _kept_tokens(
    tokenizer: PreTrainedTokenizerBase, counts: Mapping[str, Counter[str]], settings: Vocabulary
) -> set[str]:
    """Used tokens, and what the tokenizer needs: special tokens, bytes, the merges and characters of what is kept."""
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    used = {token for found in counts.values() for token in _covering(found, settings.coverage)}
    used = {token for token in used if total[token] >= settings.minimum_count}
    vocabulary = tokenizer.get_vocab()
    kept = used | set(tokenizer.get_added_vocab()) | set(tokenizer.all_special_tokens)
    kept |= {token for token in vocabulary if _is_byte(token)}
    kept |= _single_characters(used, vocabulary)
    return _with_merged_parts(tokenizer, kept) & set(vocabulary)


def _covering(counts: Counter[str], coverage: float) -> list[str]:
    """The most frequent tokens that make up this share of the text."""
    wanted, seen = coverage * counts.total(), 0
    chosen = []
    for token, number in counts.most_common():
        if seen >= wanted:
            break
        chosen.append(token)
        seen += number
    return chosen


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _single_characters(tokens: set[str], vocabulary: Mapping[str, int]) -> set[str]:
    """The characters of tokens, alone and continuing a word, so that new words of them can still be spelled."""
    characters = {character for token in tokens for character in token.removeprefix("##")}
    return {form for character in characters for form in (character, f"##{character}") if form in vocabulary}


def _with_merged_parts(tokenizer: PreTrainedTokenizerBase, tokens: set[str]) -> set[str]:
    """For byte-pair tokenizers also every token that a kept one is merged from."""
    import json

    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"].get("merges", [])
    parts: dict[str, list[str]] = defaultdict(list)
    for merge in merges:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        parts[left + right] += [left, right]
    waiting, kept = list(tokens), set(tokens)
    while waiting:
        for part in parts[waiting.pop()]:
            if part not in kept:
                kept.add(part)
                waiting.append(part)
    return kept


def _lost_share(counts: Counter[str], kept: set[str]) -> float:
    lost = sum(number for token, number in counts.items() if token not in kept)
    return round(lost / counts.total(), 6) if counts else 0.0


def _as_transformers(backend: Any, original: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=original.model_max_length,
        model_input_names=list(original.model_input_names),
        padding_side=original.padding_side,
        truncation_side=original.truncation_side,
        **original.special_tokens_map,
    )
