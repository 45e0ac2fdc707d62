"""Tokenizers trained on the rows' text, the same text giving the same tokenizer; and what one knows of text."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.errors import first_line
from compress.recipe.training import NewTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_LONGEST_TEXT = 100_000  # bytes; SentencePiece passes over longer ones


def train_tokenizer(
    texts: Iterable[str], settings: NewTokenizer, max_length: int, asking: Sequence[str] | None = None
) -> PreTrainedTokenizerFast:
    """Train a tokenizer: byte-pair (Sennrich et al., 2016) of characters or of bytes (Radford et al., 2019), or Unigram
    (Kudo, 2018).

    :param asking: For models that write: the tokens that ask for a language. Text can then be read back from its
        tokens, and ends with the separator.
    """
    from tokenizers import decoders, processors
    from transformers import PreTrainedTokenizerFast

    special = [*SPECIAL_TOKENS.values(), *(asking or [])]
    train = {"byte-pair": _byte_pair, "unigram": _unigram, "byte-level": _byte_level}[settings.model]
    tokenizer = train(texts, settings, special, writes=asking is not None)
    tokenizer.decoder = decoders.ByteLevel() if settings.model == "byte-level" else decoders.Metaspace()
    first, last = SPECIAL_TOKENS["cls"], SPECIAL_TOKENS["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}" if asking is None else f"$A {last}",
        pair=f"{first} $A {last} $B {last}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{role}_token": token for role, token in SPECIAL_TOKENS.items()},
        **({} if asking is None else {"eos_token": last, "extra_special_tokens": list(asking)}),
    )


def sentencepiece_problem() -> str | None:
    """Why SentencePiece's files, of which transformers makes fast tokenizers, cannot be read here; none if they can."""
    try:
        from sentencepiece import sentencepiece_model_pb2  # noqa: F401
    except ImportError as error:
        return f"sentencepiece cannot be imported: {first_line(error)}"
    except Exception as error:  # protobuf's, where its version is older than sentencepiece wants
        return f"sentencepiece and protobuf do not go together: {first_line(error).partition('. ')[0]}"
    return None


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """What a tokenizer makes of each text alone, whole and without special tokens."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, truncation=False)["input_ids"]
    return ids


def unknown_share(tokenizer: PreTrainedTokenizerBase, ids: Sequence[Sequence[int]]) -> float:
    """Share of the tokens of texts, from 0 to 1, that a tokenizer can only say of that it does not know them."""
    unknown = sum(list(text).count(tokenizer.unk_token_id) for text in ids)
    return unknown / max(sum(map(len, ids)), 1)


def unknown_shares(tokenizer: PreTrainedTokenizerBase, texts: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """`unknown_share` of the texts of each language."""
    return {language: unknown_share(tokenizer, token_ids(tokenizer, own)) for language, own in texts.items()}


def _byte_pair(texts: Iterable[str], settings: NewTokenizer, special: list[str], *, writes: bool) -> Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS["unk"]))
    tokenizer.normalizer = _normalizer(settings, writes)
    split = _word_splitter(writes)
    metaspace = pre_tokenizers.Metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([metaspace, split] if writes else [split, metaspace])
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        special_tokens=special,
        max_token_length=settings.longest_piece,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte_level(texts: Iterable[str], settings: NewTokenizer, special: list[str], *, writes: bool) -> Tokenizer:
    """Without a normalizer, which the tokenizers inside of ONNX graphs do not have."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary_size,
        special_tokens=special,
        max_token_length=settings.longest_piece,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(texts: Iterable[str], settings: NewTokenizer, special: list[str], *, writes: bool) -> Tokenizer:
    """By SentencePiece: the trainer of the tokenizers library walks its tables in random order."""
    import sentencepiece
    from tokenizers import Tokenizer, models, pre_tokenizers

    normalizer, split, metaspace = _normalizer(settings, writes), _word_splitter(writes), pre_tokenizers.Metaspace()

    def sentences() -> Iterator[str]:
        for text in texts:
            normalised = normalizer.normalize_str(text)
            yield normalised if writes else " ".join(word for word, _ in split.pre_tokenize_str(normalised))

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(),
        model_writer=written,
        model_type="unigram",
        vocab_size=settings.vocabulary_size - len(special) + 3,  # it has three special tokens of its own
        hard_vocab_limit=False,
        max_sentencepiece_length=settings.longest_piece,
        max_sentence_length=_LONGEST_TEXT,
        normalization_rule_name="identity",
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [(trained.id_to_piece(index), trained.get_score(index)) for index in range(3, trained.get_piece_size())]
    vocabulary = [*((token, 0.0) for token in special), *pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index(SPECIAL_TOKENS["unk"])))
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = metaspace if writes else pre_tokenizers.Sequence([split, metaspace])
    return tokenizer


def _normalizer(settings: NewTokenizer, writes: bool) -> Any:
    from tokenizers import normalizers

    lowercase = not writes if settings.lowercase is None else settings.lowercase
    unicode = normalizers.NFC() if writes else normalizers.NFKC()
    return normalizers.Sequence([unicode, *([normalizers.Lowercase()] if lowercase else [])])


def _word_splitter(writes: bool) -> Any:
    """Words and signs apart; where text is to be read back, without losing where spaces were."""
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Punctuation() if writes else pre_tokenizers.Whitespace()
