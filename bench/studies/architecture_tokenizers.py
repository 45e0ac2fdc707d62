"""Tokenizers of the kinds that architectures have on the hub, trained in milliseconds on the built-in data.

They are written as people have them: ``tokenizer.json`` alone, the SentencePiece model alone, or both, or the older
files of words and merges.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compress.data.builtin import cldr
from compress.runs.files import write_json

LANGUAGES = ("de", "en", "ru")
TOKENS = 400
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@functools.cache
def built_in_rows() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """The built-in data of a few languages, by split."""
    return {
        split: [row for row in expressions if row["lang"] in LANGUAGES]
        for split, expressions in cldr.generate(0).items()
    }


def built_in_texts() -> list[str]:
    return [row["text"] for row in built_in_rows()["train"]][:1500]


def word_pieces(special: Sequence[str], lowercase: bool = False, *, both: bool = True) -> Callable[[Path], None]:
    """WordPiece: ``vocab.txt`` and, of newer models, ``tokenizer.json``."""

    def write(folder: Path) -> None:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=TOKENS, special_tokens=list(special), show_progress=False)
        tokenizer.train_from_iterator(built_in_texts(), trainer)
        first, last = ("[CLS]", "[SEP]") if special is BERT_TOKENS else ("<s>", "</s>")
        between = f"{last} " if special is not BERT_TOKENS else ""
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}",
            pair=f"{first} $A {last} {between}$B:1 {last}:1",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
        )
        numbers = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token, _ in numbers), "utf-8")
        if both:
            tokenizer.save(str(folder / "tokenizer.json"))

    return write


def byte_pairs(
    special: Sequence[str], around: tuple[str, str] | None, *, older: bool = True, qwen: bool = False
) -> Callable[[Path], None]:
    """Pairs of bytes: ``tokenizer.json`` and, of older models, ``vocab.json`` and ``merges.txt``."""

    def write(folder: Path) -> None:
        from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

        tokenizer = Tokenizer(models.BPE())
        if qwen:
            tokenizer.normalizer = normalizers.NFC()
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(_SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
            )
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=TOKENS + 256,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(built_in_texts(), trainer)
        if around:
            numbers = {token: tokenizer.token_to_id(token) for token in around if token}
            template = " ".join(part for part in (around[0], "$A", around[1]) if part)
            tokenizer.post_processor = processors.TemplateProcessing(
                single=template, pair=f"{template} $B:1 {around[1]}".rstrip(), special_tokens=list(numbers.items())
            )
            if older:
                first, last = ((token, int(numbers[token] or 0)) for token in around)
                tokenizer.post_processor = processors.RobertaProcessing(last, first, add_prefix_space=False)
        if older:
            tokenizer.model.save(str(folder))
        tokenizer.save(str(folder / "tokenizer.json"))

    return write


_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_fallback(folder: Path) -> None:
    """Pairs of characters with bytes to fall back on, as Gemma has them, in ``tokenizer.json`` alone."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=TOKENS + 256, special_tokens=tokens, show_progress=False)
    tokenizer.train_from_iterator(built_in_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B:1 <eos>:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<bos>", "<eos>")],
    )
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    Tokenizer.from_str(json.dumps(content)).save(str(folder / "tokenizer.json"))


def sentence_pieces(name: str, kind: str = "unigram", **options: Any) -> Callable[[Path], None]:
    """SentencePiece: its model alone."""

    def write(folder: Path) -> None:
        (folder / name).write_bytes(_trained_pieces(kind, tuple(options.items())))

    return write


def with_json(pieces: Callable[[Path], None], kind: str) -> Callable[[Path], None]:
    """The same with the ``tokenizer.json`` that transformers makes of it."""

    def write(folder: Path) -> None:
        import transformers

        pieces(folder)
        made = getattr(transformers, kind).from_pretrained(folder)
        made.backend_tokenizer.save(str(folder / "tokenizer.json"))

    return write


def framed(pieces: Callable[[Path], None], kind: str) -> Callable[[Path], None]:
    """The same where the class forgets what stands around a text, which the hub's ``tokenizer.json`` says."""

    def write(folder: Path) -> None:
        from tokenizers import Tokenizer, processors

        with_json(pieces, kind)(folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
        )
        tokenizer.save(str(folder / "tokenizer.json"))

    return write


@functools.cache
def _trained_pieces(kind: str, options: tuple[tuple[str, Any], ...]) -> bytes:
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(built_in_texts()),
        model_writer=written,
        model_type=kind,
        vocab_size=TOKENS + 256 * ("byte_fallback" in dict(options)),
        hard_vocab_limit=kind == "bpe",
        character_coverage=0.9999,
        num_threads=1,
        minloglevel=2,
        **dict(options),
    )
    return written.getvalue()


def numbered(
    special: Sequence[str], files: Sequence[str], kind: str = "bpe", last: Sequence[str] = ()
) -> Callable[[Path], None]:
    """SentencePiece with numbers of its own for the pieces, in ``vocab.json``."""

    def write(folder: Path) -> None:
        import sentencepiece

        for name in files:
            sentence_pieces(name, kind)(folder)
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / files[0]))
        pieces = [model.id_to_piece(number) for number in range(3, model.get_piece_size())]
        tokens = [*special, *pieces, *last]
        write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})

    return write
