"""Models with random weights in two layers, and tokenizers of the kinds that their architectures have on the hub.

Tokenizers are trained in milliseconds on the built-in data and written as people have them: ``tokenizer.json`` alone,
the SentencePiece model alone, or both, or the older files of words and merges.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compress.data.builtin import cldr
from compress.tasks.registry import TaskName

LANGUAGES = ("de", "en", "ru")
LABELS = ("date", "money", "percentage", "time")
Fields = Mapping[str, Any]
"""Of a configuration, as JSON has them."""
Row = Mapping[str, str | list[str]]

_TOKENS = 400
_ROWS = {"train": 96, "validation": 24, "test": 24}
_WIDTH = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_SIDES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
_T5_TOKENS = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "tie_word_embeddings": False}
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FAIRSEQ = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "max_position_embeddings": 514}


@dataclass(frozen=True)
class Architecture:
    """One that people have.

    ``files`` writes its tokenizer's; ``told`` says its ``tokenizer_config.json``, ``config`` its ``config.json``
    beside sizes of tables, ``recipe`` what a recipe must say for it; ``bare`` means that it comes without a head.
    """

    model_type: str
    files: Callable[[Path], None]
    told: Fields
    config: Fields
    task: TaskName = "text-classification"
    recipe: Fields = field(default_factory=dict)
    bare: bool = False


def rows(task: TaskName) -> dict[str, list[Row]]:
    """A few rows of each split, as a user's files have them."""
    labelled = {
        split: [row for row in expressions if row["label"] in LABELS] for split, expressions in _expressions().items()
    }
    return {split: [_row(task, row) for row in labelled[split][:count]] for split, count in _ROWS.items()}


def build(architecture: Architecture, folder: Path) -> list[str]:
    """Write a model with its tokenizer, as the hub has it.

    :return: The tokenizer's files, but its settings.
    """
    import torch
    import transformers

    from compress.models.describe import label_maps
    from compress.models.load import model_class
    from compress.tasks.registry import task_named

    folder.mkdir(parents=True)
    architecture.files(folder)
    files = sorted(path.name for path in folder.iterdir())
    _write(folder / "tokenizer_config.json", architecture.told)
    _write(folder / "config.json", {"model_type": architecture.model_type})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    roles = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id", None) for role in ("pad", "bos", "eos")}
    known = {name: number for name, number in roles.items() if number is not None}
    labels = label_maps(LABELS) if architecture.task != "translation" else {}
    content = {"vocab_size": max(tokenizer.get_vocab().values()) + 1, **known, **architecture.config, **labels}
    config = transformers.AutoConfig.for_model(architecture.model_type, **content)
    torch.manual_seed(0)
    made = transformers.AutoModel if architecture.bare else model_class(task_named(architecture.task))
    model = made.from_config(config).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():  # new weights are small: every layer is to matter
            if weights.dim() > 1 and "embed" not in name:
                weights.normal_(std=0.1)
    model.save_pretrained(folder)
    return files


def _row(task: TaskName, row: Mapping[str, str]) -> Row:
    if task == "translation":
        return {"source": row["text"], "target": row["text"], "source_lang": "de", "target_lang": "ru"}
    if task == "token-classification":
        words = row["text"].split()
        return {"tokens": words, "labels": [row["label"]] * len(words), "lang": row["lang"]}
    return {name: row[name] for name in ("text", "label", "lang")}


@functools.cache
def _expressions() -> Mapping[str, Sequence[Mapping[str, str]]]:
    """The built-in data of a few languages, by split."""
    return {
        split: [row for row in expressions if row["lang"] in LANGUAGES]
        for split, expressions in cldr.generate(0).items()
    }


def _texts() -> list[str]:
    return [row["text"] for row in _expressions()["train"]][:1500]


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")


def _words(special: Sequence[str], lowercase: bool = False, *, both: bool = True) -> Callable[[Path], None]:
    """WordPiece: ``vocab.txt`` and, of newer models, ``tokenizer.json``."""

    def write(folder: Path) -> None:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=_TOKENS, special_tokens=list(special), show_progress=False)
        tokenizer.train_from_iterator(_texts(), trainer)
        first, last = ("[CLS]", "[SEP]") if special is _BERT else ("<s>", "</s>")
        between = f"{last} " if special is not _BERT else ""
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


def _byte_pairs(
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
            vocab_size=_TOKENS + 256,
            special_tokens=list(special),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_texts(), trainer)
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


def _byte_fallback(folder: Path) -> None:
    """Pairs of characters with bytes to fall back on, as Gemma has them, in ``tokenizer.json`` alone."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=_TOKENS + 256, special_tokens=tokens, show_progress=False)
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B:1 <eos>:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<bos>", "<eos>")],
    )
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in special]
    Tokenizer.from_str(json.dumps(content)).save(str(folder / "tokenizer.json"))


def _pieces(name: str, kind: str = "unigram", **options: Any) -> Callable[[Path], None]:
    """SentencePiece: its model alone."""

    def write(folder: Path) -> None:
        (folder / name).write_bytes(_trained_pieces(kind, tuple(options.items())))

    return write


def _with_json(pieces: Callable[[Path], None], kind: str) -> Callable[[Path], None]:
    """The same with the ``tokenizer.json`` that transformers makes of it."""

    def write(folder: Path) -> None:
        import transformers

        pieces(folder)
        made = getattr(transformers, kind).from_pretrained(folder)
        made.backend_tokenizer.save(str(folder / "tokenizer.json"))

    return write


def _framed(pieces: Callable[[Path], None], kind: str) -> Callable[[Path], None]:
    """The same where the class forgets what stands around a text, which the hub's ``tokenizer.json`` says."""

    def write(folder: Path) -> None:
        from tokenizers import Tokenizer, processors

        _with_json(pieces, kind)(folder)
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
        sentence_iterator=iter(_texts()),
        model_writer=written,
        model_type=kind,
        vocab_size=_TOKENS,
        hard_vocab_limit=kind == "bpe",
        character_coverage=0.9999,
        num_threads=1,
        minloglevel=2,
        **dict(options),
    )
    return written.getvalue()


def _numbered(
    special: Sequence[str], files: Sequence[str], kind: str = "bpe", last: Sequence[str] = ()
) -> Callable[[Path], None]:
    """SentencePiece with numbers of its own for the pieces, in ``vocab.json``."""

    def write(folder: Path) -> None:
        import sentencepiece

        for name in files:
            _pieces(name, kind)(folder)
        model = sentencepiece.SentencePieceProcessor(model_file=str(folder / files[0]))
        pieces = [model.id_to_piece(number) for number in range(3, model.get_piece_size())]
        tokens = [*special, *pieces, *last]
        _write(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})

    return write


_XLM_R = _pieces("sentencepiece.bpe.model")
_DEBERTA: dict[str, Any] = {
    "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
    "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]",
}  # fmt: skip
_REMBERT: dict[str, Any] = {
    "pad_id": 0, "bos_id": 1, "unk_id": 2, "eos_id": 3,
    "pad_piece": "<pad>", "bos_piece": "[CLS]", "unk_piece": "<unk>", "eos_piece": "[SEP]",
    "control_symbols": "[MASK]",
}  # fmt: skip
_MODERN = {
    "local_attention": 16, "global_attn_every_n_layers": 2, "max_position_embeddings": 512,
}  # fmt: skip
_CODES = {"data.language_codes": {"de": "deu_Latn", "ru": "rus_Cyrl"}}
_MBART_CODES = {"data.language_codes": {"de": "de_DE", "ru": "ru_RU"}}
_LLAMA = ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>", "<|pad|>"]
_LLAMA_TOLD = {
    "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": _LLAMA[0], "eos_token": _LLAMA[1],
    "mask_token": _LLAMA[2], "pad_token": _LLAMA[3], "model_input_names": ["input_ids", "attention_mask"],
    "model_max_length": 512,
}  # fmt: skip
_BERT_ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _BERT, strict=True))

ARCHITECTURES: Mapping[str, Architecture] = {
    "mBERT": Architecture(
        "bert", _words(_BERT), {"do_lower_case": False, "model_max_length": 512}, _WIDTH
    ),
    "DistilBERT": Architecture(
        "distilbert", _words(_BERT), {"do_lower_case": False, "model_max_length": 512},
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    ),
    "XLM-R": Architecture(
        "xlm-roberta", _with_json(_XLM_R, "XLMRobertaTokenizer"), {"model_max_length": 512},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "mDeBERTa-v3": Architecture(
        "deberta-v2", _pieces("spm.model", **_DEBERTA), {"do_lower_case": False, "vocab_type": "spm"},
        {
            **_WIDTH, "relative_attention": True, "position_buckets": 64, "norm_rel_ebd": "layer_norm",
            "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": -1,
            "position_biased_input": False, "type_vocab_size": 0, "pooler_hidden_size": 32,
        },
    ),
    "ModernBERT": Architecture(
        "modernbert", _byte_pairs(_BERT, ("[CLS]", "[SEP]"), older=False),
        {
            **_BERT_ROLES, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512,
            "model_input_names": ["input_ids", "attention_mask"],
        },
        {**_WIDTH, **_MODERN, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
    "mmBERT": Architecture(
        "modernbert", _byte_fallback,
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>",
            "cls_token": "<bos>", "sep_token": "<eos>", "bos_token": "<bos>", "eos_token": "<eos>",
            "mask_token": "<mask>", "model_max_length": 512, "model_input_names": ["input_ids", "attention_mask"],
        },
        {**_WIDTH, **_MODERN, "cls_token_id": 2, "sep_token_id": 1, "bos_token_id": 2, "eos_token_id": 1},
    ),
    "RemBERT": Architecture(
        "rembert", _framed(_pieces("sentencepiece.model", **_REMBERT), "RemBertTokenizer"),
        {"do_lower_case": False, "remove_space": True, "keep_accents": True, "model_max_length": 512},
        {**_WIDTH, "input_embedding_size": 16, "output_embedding_size": 48},
    ),
    "ELECTRA": Architecture(
        "electra", _words(_BERT, lowercase=True), {"do_lower_case": True, "model_max_length": 512},
        {**_WIDTH, "embedding_size": 16},
    ),
    "CamemBERT": Architecture(
        "camembert", _with_json(_XLM_R, "CamembertTokenizer"), {"model_max_length": 512},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "RoBERTa": Architecture(
        "roberta", _byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], ("<s>", "</s>")),
        {"model_max_length": 512}, {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "MPNet": Architecture(
        "mpnet", _words(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"], lowercase=True),
        {"do_lower_case": True, "model_max_length": 512}, {**_WIDTH, **_FAIRSEQ},
    ),
    "EuroBERT": Architecture(
        "eurobert", _byte_pairs(_LLAMA, ("<|begin_of_text|>", "<|end_of_text|>"), older=False), _LLAMA_TOLD,
        {**_WIDTH, "num_key_value_heads": 2, "head_dim": 16, "mask_token_id": 2},
    ),
    "LaBSE": Architecture(
        "bert", _words(_BERT), {"do_lower_case": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer"},
        _WIDTH, bare=True,
    ),
    "XLM-V": Architecture(
        "xlm-roberta", _XLM_R, {"model_max_length": 512, "tokenizer_class": "XLMRobertaTokenizer"},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "mT5 encoder": Architecture(
        "mt5", _pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS}, "token-classification",
    ),
    "mT5 with a classification head": Architecture(
        "mt5", _pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS},
    ),
    "Qwen3": Architecture(
        "qwen3", _byte_pairs(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, qwen=True),
        {
            "tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>",
            "bos_token": None, "unk_token": None, "model_max_length": 512,
        },
        {**_WIDTH, "num_key_value_heads": 1, "head_dim": 16},
    ),
    "Llama": Architecture(
        "llama", _byte_pairs(_LLAMA, ("<|begin_of_text|>", ""), older=False), _LLAMA_TOLD,
        {**_WIDTH, "num_key_value_heads": 1},
    ),
    "Marian": Architecture(
        "marian", _numbered(["</s>", "<unk>"], ["source.spm", "target.spm"], "unigram", ["<pad>"]),
        {"source_lang": "de", "target_lang": "ru", "model_max_length": 512},
        {**_SIDES, "eos_token_id": 0, "forced_eos_token_id": 0, "decoder_start_token_id": _TOKENS - 1}, "translation",
    ),
    "M2M100": Architecture(
        "m2m_100", _numbered(["<s>", "<pad>", "</s>", "<unk>"], ["sentencepiece.bpe.model"]),
        {"tokenizer_class": "M2M100Tokenizer", "model_max_length": 512},
        {**_SIDES, "vocab_size": 520, "decoder_start_token_id": 2}, "translation",
    ),
    "NLLB": Architecture(
        "m2m_100", _with_json(_pieces("sentencepiece.bpe.model", "bpe"), "NllbTokenizer"),
        {"tokenizer_class": "NllbTokenizer", "src_lang": "eng_Latn", "model_max_length": 512},
        {**_SIDES, "decoder_start_token_id": 2}, "translation", _CODES,
    ),
    "mT5": Architecture(
        "mt5", _pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS}, "translation",
        {"data.prefix": "translate {source} to {target}: "},
    ),
    "mBART": Architecture(
        "mbart", _pieces("sentencepiece.bpe.model"), {"tokenizer_class": "MBartTokenizer", "model_max_length": 512},
        {**_SIDES, "scale_embedding": True}, "translation", _MBART_CODES,
    ),
    "mBART-50": Architecture(
        "mbart", _pieces("sentencepiece.bpe.model"), {"tokenizer_class": "MBart50Tokenizer", "model_max_length": 512},
        {**_SIDES, "scale_embedding": True, "decoder_start_token_id": 2}, "translation", _MBART_CODES,
    ),
}  # fmt: skip
