"""Models with random weights and the real kinds of tokenizers that multilingual models have, trained in seconds."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from compress.data.builtin import cldr

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PADDING_ROWS = 5
"""Rows of the embeddings beyond the tokenizer's tokens."""
_ENCODER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
_WRITER = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "max_position_embeddings": 200,
}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}


@dataclass(frozen=True)
class Family:
    """How a tokenizer is made from text in a folder, and a model for it with so many rows."""

    tokenizer: Callable[[Path], Any]
    model: Callable[[Any, int], Any]


@functools.cache
def texts() -> Mapping[str, Sequence[str]]:
    """Some of each language."""
    rows = cldr.generate(0)["train"]
    languages = sorted({row["lang"] for row in rows})
    return {language: [row["text"] for row in rows if row["lang"] == language][:150] for language in languages}


def build(family: str, folder: Path) -> tuple[Any, Any]:
    """A model of a family and its tokenizer.

    :param folder: Where the tokenizer's files are written.
    """
    made = FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = made.tokenizer(folder)
    codes = getattr(tokenizer, "lang_token_to_id", {})
    torch.manual_seed(0)
    model = made.model(tokenizer, max(*tokenizer.get_vocab().values(), *codes.values(), 0) + 1 + PADDING_ROWS).eval()
    with torch.no_grad():
        for name, weights in (*model.named_parameters(), *model.named_buffers()):
            if "bias" in name:  # those of heads are zero at first: their rows are to differ
                weights.copy_(torch.randn_like(weights))
    return model, tokenizer


def _word_piece(folder: Path) -> Any:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return _trained(tokenizer, trainers.WordPieceTrainer(vocab_size=1500, special_tokens=SPECIAL))


def _byte_level(folder: Path) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(tokenizer, trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, initial_alphabet=alphabet))


def _byte_fallback(folder: Path) -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trained = _trained(tokenizer, trainers.BpeTrainer(vocab_size=1500, special_tokens=tokens))
    content = json.loads(trained.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL]
    return _wrapped(Tokenizer.from_str(json.dumps(content)))


def _trained(tokenizer: Tokenizer, trainer: Any) -> Any:
    tokenizer.train_from_iterator([text for rows in texts().values() for text in rows], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    )
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> Any:
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, model_input_names=["input_ids", "attention_mask"], **roles
    )


def _pieces(path: Path, kind: str, *languages: str, **options: int) -> list[str]:
    """Write a model of SentencePiece, of the text of some languages or of all; its tokens but the special ones."""
    path.write_bytes(_trained_pieces(kind, languages or tuple(texts()), tuple(options.items())))
    model = sentencepiece.SentencePieceProcessor(str(path))
    return [model.id_to_piece(number) for number in range(3, model.get_piece_size())]


@functools.cache
def _trained_pieces(kind: str, languages: tuple[str, ...], options: tuple[tuple[str, int], ...]) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(text for language in languages for text in texts()[language]),
        model_writer=written,
        model_type=kind,
        vocab_size=900 if kind == "bpe" else 700,
        hard_vocab_limit=kind == "bpe",
        character_coverage=0.98,
        num_threads=1,
        minloglevel=2,
        **dict(options),
    )
    return written.getvalue()


def _xlm_roberta(folder: Path) -> Any:
    _pieces(folder / "sentencepiece.bpe.model", "unigram")
    return transformers.XLMRobertaTokenizer.from_pretrained(folder)


def _mbart(folder: Path) -> Any:
    _pieces(folder / "sentencepiece.bpe.model", "unigram")
    return transformers.MBart50Tokenizer.from_pretrained(folder, src_lang="de_DE", tgt_lang="ru_RU")


def _mt5(folder: Path) -> Any:
    _pieces(folder / "spiece.model", "unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    return transformers.T5Tokenizer.from_pretrained(folder)


def _nllb(folder: Path) -> Any:
    _pieces(folder / "sentencepiece.bpe.model", "bpe")
    codes = ["deu_Latn", "rus_Cyrl", "fra_Latn"]
    return transformers.NllbTokenizer.from_pretrained(
        folder, src_lang="deu_Latn", tgt_lang="rus_Cyrl", additional_special_tokens=codes
    )


def _m2m100(folder: Path) -> Any:
    tokens = _pieces(folder / "sentencepiece.bpe.model", "bpe")
    _write_numbers(folder, ["<s>", "<pad>", "</s>", "<unk>", *tokens])
    return transformers.M2M100Tokenizer.from_pretrained(folder, src_lang="de", tgt_lang="ru")


def _marian(folder: Path) -> Any:
    """Its padding comes last, and some pieces have no number."""
    source, target = (
        _pieces(folder / f"{side}.spm", "unigram", language) for side, language in (("source", "de"), ("target", "ru"))
    )
    numbered = [token for token in dict.fromkeys([*source, *target]) if not token.startswith("▁B")]
    _write_numbers(folder, ["</s>", "<unk>", *numbered, ">>ru<<", ">>fr<<", "<pad>"])
    return transformers.MarianTokenizer.from_pretrained(folder, source_lang="de", target_lang="ru")


def _write_numbers(folder: Path, tokens: Sequence[str]) -> None:
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))


def _masked(head: Any, config: Any, **fields: Any) -> Callable[[Any, int], Any]:
    def make(tokenizer: Any, rows: int) -> Any:
        return head(config(vocab_size=rows, pad_token_id=tokenizer.pad_token_id, **_ENCODER, **fields))

    return make


def _writer(head: Any, config: Any, sizes: Mapping[str, Any], **fields: Any) -> Callable[[Any, int], Any]:
    def make(tokenizer: Any, rows: int) -> Any:
        pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        start = end if config is transformers.M2M100Config else pad
        made = config(
            vocab_size=rows, pad_token_id=pad, eos_token_id=end, decoder_start_token_id=start, **sizes, **fields
        )
        model = head(made)
        model.generation_config.bad_words_ids = [[pad]]
        if getattr(tokenizer, "tgt_lang", None):
            code = getattr(tokenizer, "lang_code_to_token", {}).get(tokenizer.tgt_lang, tokenizer.tgt_lang)
            model.generation_config.forced_bos_token_id = tokenizer.convert_tokens_to_ids(code)
        return model

    return make


_T = transformers
FAMILIES: Mapping[str, Family] = {
    "WordPiece": Family(_word_piece, _masked(_T.BertForMaskedLM, _T.BertConfig)),
    "byte-level": Family(
        _byte_level,
        _masked(
            _T.ModernBertForMaskedLM,
            _T.ModernBertConfig,
            bos_token_id=2,
            eos_token_id=3,
            cls_token_id=2,
            sep_token_id=3,
        ),
    ),
    "byte fallback": Family(
        _byte_fallback,
        _masked(_T.LlamaForCausalLM, _T.LlamaConfig, bos_token_id=2, eos_token_id=3, tie_word_embeddings=False),
    ),
    "XLM-R": Family(_xlm_roberta, _masked(_T.XLMRobertaForMaskedLM, _T.XLMRobertaConfig)),
    "mT5": Family(_mt5, _writer(_T.MT5ForConditionalGeneration, _T.MT5Config, _T5, tie_word_embeddings=False)),
    "mBART": Family(_mbart, _writer(_T.MBartForConditionalGeneration, _T.MBartConfig, _WRITER)),
    "NLLB": Family(_nllb, _writer(_T.M2M100ForConditionalGeneration, _T.M2M100Config, _WRITER)),
    "M2M100": Family(_m2m100, _writer(_T.M2M100ForConditionalGeneration, _T.M2M100Config, _WRITER)),
    "Marian": Family(_marian, _writer(_T.MarianMTModel, _T.MarianConfig, _WRITER)),
}
