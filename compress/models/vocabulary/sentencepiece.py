"""Marian's and M2M100's tokenizers: SentencePiece, and the numbers of its pieces in a file of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.errors import CompressError
from compress.models.load import save_tokenizer
from compress.models.vocabulary.anatomy import Anatomy, LanguageText
from compress.models.vocabulary.fast import always_kept

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NORMAL, _BYTE_PAIR = 1, 2  # numbers of a piece's type and of a model's, in SentencePiece's format
_MODELS = ("*.spm", "*.model")


def anatomy(tokenizer: Any) -> Anatomy:
    """Look at a tokenizer of Marian or M2M100.

    :raises CompressError: If it is neither, or has a vocabulary for each side.
    """
    from transformers import M2M100Tokenizer, MarianTokenizer

    several = isinstance(tokenizer, MarianTokenizer)
    if not several and not isinstance(tokenizer, M2M100Tokenizer):
        raise CompressError(
            f"{type(tokenizer).__name__} cannot be trimmed: it has no tokenizer.json, and is not Marian's or M2M100's"
        )
    if getattr(tokenizer, "separate_vocabs", False):
        raise CompressError("a Marian tokenizer with a vocabulary for each side (separate_vocabs) cannot be trimmed")
    processors = (tokenizer.spm_source, tokenizer.spm_target) if several else (tokenizer.sp_model,)
    models = [_parsed(processor.serialized_model_proto()) for processor in processors]
    codes = {} if several else tokenizer.lang_token_to_id
    numbers = {**tokenizer.encoder, **tokenizer.added_tokens_encoder, **codes}
    required = {*tokenizer.all_special_tokens, *tokenizer.added_tokens_encoder, *codes, *always_kept(numbers)}
    # What an unknown character costs follows from the lowest score.
    lowest = {min(_normal(model), key=lambda piece: float(piece.score)).piece for model in models}
    joined = {piece.piece for model in models if model.trainer_spec.model_type == _BYTE_PAIR for piece in model.pieces}

    def parts(token: str) -> set[str]:
        """Its characters; and as SentencePiece knows no merges, but joins what together is a piece, both halves of each
        division."""
        halves = {half for place in range(1, len(token)) for half in (token[:place], token[place:])}
        return ({*token} | (halves & joined)) & numbers.keys()

    return Anatomy(
        numbers=numbers,
        unknown=tokenizer.unk_token,
        required=frozenset((required | lowest) & numbers.keys()),
        parts=parts,
        split=partial(_split_sides if several else _split, tokenizer),
        save=partial(_save, tokenizer, numbers),
    )


def _parsed(serialized: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    formats: Any = sentencepiece_model_pb2  # which makes its classes when it is imported
    return formats.ModelProto.FromString(serialized)


def _normal(model: Any) -> list[Any]:
    return [piece for piece in model.pieces if piece.type == _NORMAL]


def _split(tokenizer: PreTrainedTokenizerBase, texts: Sequence[LanguageText]) -> list[list[int]]:
    split: list[list[int]] = tokenizer([text for _, text in texts], add_special_tokens=False)["input_ids"]
    return split


def _split_sides(tokenizer: Any, texts: Sequence[LanguageText]) -> list[list[int]]:
    """Source and target are split by models of their own; text of another language than theirs may be on any side."""
    sides = {"text": tokenizer.source_lang, "text_target": tokenizer.target_lang}
    known = sides.values()
    split: list[list[int]] = [[] for _ in texts]
    for side, own in sides.items():
        read = [number for number, (language, _) in enumerate(texts) if language == own or language not in known]
        if read:
            output = tokenizer(**{side: [texts[number][1] for number in read]}, add_special_tokens=False)
            for number, found in zip(read, output["input_ids"], strict=True):
                split[number] += found
    return split


def _save(tokenizer: PreTrainedTokenizerBase, numbers: dict[str, int], folder: Path, kept: Sequence[int]) -> None:
    save_tokenizer(tokenizer, folder)
    renumbered = {old: new for new, old in enumerate(kept)}
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    vocabulary = {token: renumbered[number] for token, number in vocabulary.items() if number in renumbered}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, indent=2, ensure_ascii=False) + "\n", "utf-8")
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text("utf-8"))
    added = content.get("added_tokens_decoder", {})
    content["added_tokens_decoder"] = {str(renumbered[int(number)]): token for number, token in added.items()}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    # Pieces without a number are unknown tokens of their own: they cost nothing, and stay.
    dropped = {token for token, number in numbers.items() if number not in renumbered}
    for file in (found for pattern in _MODELS for found in folder.glob(pattern)):
        model = _parsed(file.read_bytes())
        left = [piece for piece in model.pieces if piece.type != _NORMAL or piece.piece not in dropped]
        del model.pieces[:]
        model.pieces.extend(left)
        file.write_bytes(model.SerializeToString())
