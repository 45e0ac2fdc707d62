"""Tokenizers of the tokenizers library, whose ``tokenizer.json`` is rewritten.

Why a text whose tokens are all kept is split as before: WordPiece takes the longest token that fits, which is still
there; the merges of byte pairs that the text asks for are all kept, as what they result in is part of its tokens; the
best way through Unigram's is still there, and no other has become better: what an unknown character costs follows from
the token with the lowest score, which is kept.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.models.load import save_tokenizer
from compress.models.vocabulary.anatomy import Anatomy, LanguageText

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Bytes, T5's sentinels, and what asks Marian for a language.
_ALWAYS = re.compile(r"<0x[0-9A-F]{2}>|▁?<extra_id_\d+>|>>.+<<")


def anatomy(tokenizer: PreTrainedTokenizerBase) -> Anatomy:
    """Look at a tokenizer of the tokenizers library."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    numbers = tokenizer.get_vocab()
    return Anatomy(
        numbers=numbers,
        unknown=tokenizer.unk_token,
        required=frozenset(_required(tokenizer, content, numbers)),
        parts=_parts(content["model"], numbers),
        split=partial(_split, tokenizer),
        save=partial(_save, tokenizer, content),
    )


def always_kept(tokens: Mapping[str, int]) -> set[str]:
    """Tokens that are told by their names to be kept."""
    return {token for token in tokens if _ALWAYS.fullmatch(token)}


def _required(tokenizer: PreTrainedTokenizerBase, content: Any, numbers: Mapping[str, int]) -> set[str]:
    from tokenizers import pre_tokenizers

    model = content["model"]
    required = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens, *always_kept(numbers)}
    for processor in _processors(content):
        required |= {token for special in processor.get("special_tokens", {}).values() for token in special["tokens"]}
        required |= {processor[role][0] for role in ("sep", "cls") if role in processor}
    if "ByteLevel" in json.dumps([content["pre_tokenizer"], content["normalizer"]]):
        required |= {*pre_tokenizers.ByteLevel.alphabet()}
    if model["type"] == "Unigram":
        required.add(min(model["vocab"], key=lambda entry: float(entry[1]))[0])
        if model["unk_id"] is not None:
            required.add(model["vocab"][model["unk_id"]][0])
    elif model.get("unk_token"):
        required.add(model["unk_token"])
    return required & numbers.keys()


def _processors(content: Any) -> Iterator[dict[str, Any]]:
    """What puts special tokens around a text, each step of it."""
    whole = content["post_processor"] or {}
    yield from whole.get("processors", [whole])


def _parts(model: Any, numbers: Mapping[str, int]) -> Callable[[str], set[str]]:
    prefix, suffix = (model.get(name) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
    merged: dict[str, set[str]] = defaultdict(set)
    for left, right in _merges(model):
        merged[left + right.removeprefix(prefix)] |= {left, right}

    def parts(token: str) -> set[str]:
        characters = token.removeprefix(prefix).removesuffix(suffix)
        forms = {form for character in characters for form in (character, prefix + character, character + suffix)}
        return (forms & numbers.keys()) | merged.get(token, set())

    return parts


def _merges(model: Any) -> list[tuple[str, str]]:
    merges = model.get("merges", [])
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in merges)
    return [(left, right) for left, right in pairs]


def _split(tokenizer: PreTrainedTokenizerBase, texts: Sequence[LanguageText]) -> list[list[int]]:
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # as the last call asked for it
    backend.no_padding()
    encoded = backend.encode_batch_fast([text for _, text in texts], add_special_tokens=False)
    return [encoding.ids for encoding in encoded]


def _save(tokenizer: PreTrainedTokenizerBase, content: Any, folder: Path, kept: Sequence[int]) -> None:
    save_tokenizer(tokenizer, folder)
    renumbered = {old: new for new, old in enumerate(kept)}
    trimmed = {**content, "truncation": None, "padding": None, "model": _trimmed(content["model"], renumbered)}
    trimmed["added_tokens"] = [{**token, "id": renumbered[token["id"]]} for token in content["added_tokens"]]
    trimmed = json.loads(json.dumps(trimmed))  # the processors below are changed in place
    for processor in _processors(trimmed):
        for special in processor.get("special_tokens", {}).values():
            special["ids"] = [renumbered[number] for number in special["ids"]]
        for role in processor.keys() & {"sep", "cls"}:
            processor[role][1] = renumbered[processor[role][1]]
    (folder / "tokenizer.json").write_text(json.dumps(trimmed, ensure_ascii=False), "utf-8")


def _trimmed(model: Any, renumbered: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = model["vocab"]
    if model["type"] == "Unigram":
        unknown = None if model["unk_id"] is None else renumbered[model["unk_id"]]
        return {**model, "vocab": [vocabulary[old] for old in renumbered if old < len(vocabulary)], "unk_id": unknown}
    tokens = {token: renumbered[number] for token, number in vocabulary.items() if number in renumbered}
    if model["type"] != "BPE":
        return {**model, "vocab": tokens}
    prefix = model.get("continuing_subword_prefix") or ""
    merges = [
        (left, right)
        for left, right in _merges(model)
        if left in tokens and right in tokens and left + right.removeprefix(prefix) in tokens
    ]
    return {**model, "vocab": tokens, "merges": merges}
