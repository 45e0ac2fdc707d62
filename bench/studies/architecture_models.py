"""Models with random weights in two layers, with tokenizers of the kinds that their architectures have on the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.studies.architecture_tokenizers import (
    BERT_TOKENS,
    TOKENS,
    built_in_rows,
    byte_fallback,
    byte_pairs,
    framed,
    numbered,
    sentence_pieces,
    with_json,
    word_pieces,
)
from compress.runs.files import write_json
from compress.tasks.registry import TaskName

LABELS = ("date", "money", "percentage", "time")
Fields = Mapping[str, Any]
"""Of a configuration, as JSON has them."""
Row = Mapping[str, str | list[str]]

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
        split: [row for row in expressions if row["label"] in LABELS] for split, expressions in built_in_rows().items()
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
    write_json(folder / "tokenizer_config.json", architecture.told)
    write_json(folder / "config.json", {"model_type": architecture.model_type})
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


_XLM_R = sentence_pieces("sentencepiece.bpe.model")
_DEBERTA: dict[str, Any] = {
    "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3,
    "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]", "byte_fallback": True,
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
_BERT_ROLES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), BERT_TOKENS, strict=True))

ARCHITECTURES: Mapping[str, Architecture] = {
    "mBERT": Architecture(
        "bert", word_pieces(BERT_TOKENS), {"do_lower_case": False, "model_max_length": 512}, _WIDTH
    ),
    "DistilBERT": Architecture(
        "distilbert", word_pieces(BERT_TOKENS), {"do_lower_case": False, "model_max_length": 512},
        {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    ),
    "XLM-R": Architecture(
        "xlm-roberta", with_json(_XLM_R, "XLMRobertaTokenizer"), {"model_max_length": 512},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "mDeBERTa-v3": Architecture(
        "deberta-v2", sentence_pieces("spm.model", **_DEBERTA), {"do_lower_case": False, "vocab_type": "spm"},
        {
            **_WIDTH, "relative_attention": True, "position_buckets": 64, "norm_rel_ebd": "layer_norm",
            "share_att_key": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": -1,
            "position_biased_input": False, "type_vocab_size": 0, "pooler_hidden_size": 32,
        },
    ),
    "ModernBERT": Architecture(
        "modernbert", byte_pairs(BERT_TOKENS, ("[CLS]", "[SEP]"), older=False),
        {
            **_BERT_ROLES, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512,
            "model_input_names": ["input_ids", "attention_mask"],
        },
        {**_WIDTH, **_MODERN, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    ),
    "mmBERT": Architecture(
        "modernbert", byte_fallback,
        {
            "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>",
            "cls_token": "<bos>", "sep_token": "<eos>", "bos_token": "<bos>", "eos_token": "<eos>",
            "mask_token": "<mask>", "model_max_length": 512, "model_input_names": ["input_ids", "attention_mask"],
        },
        {**_WIDTH, **_MODERN, "cls_token_id": 2, "sep_token_id": 1, "bos_token_id": 2, "eos_token_id": 1},
    ),
    "RemBERT": Architecture(
        "rembert", framed(sentence_pieces("sentencepiece.model", **_REMBERT), "RemBertTokenizer"),
        {"do_lower_case": False, "remove_space": True, "keep_accents": True, "model_max_length": 512},
        {**_WIDTH, "input_embedding_size": 16, "output_embedding_size": 48},
    ),
    "ELECTRA": Architecture(
        "electra", word_pieces(BERT_TOKENS, lowercase=True), {"do_lower_case": True, "model_max_length": 512},
        {**_WIDTH, "embedding_size": 16},
    ),
    "CamemBERT": Architecture(
        "camembert", with_json(_XLM_R, "CamembertTokenizer"), {"model_max_length": 512},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "RoBERTa": Architecture(
        "roberta", byte_pairs(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], ("<s>", "</s>")),
        {"model_max_length": 512}, {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "MPNet": Architecture(
        "mpnet", word_pieces(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"], lowercase=True),
        {"do_lower_case": True, "model_max_length": 512}, {**_WIDTH, **_FAIRSEQ},
    ),
    "EuroBERT": Architecture(
        "eurobert", byte_pairs(_LLAMA, ("<|begin_of_text|>", "<|end_of_text|>"), older=False), _LLAMA_TOLD,
        {**_WIDTH, "num_key_value_heads": 2, "head_dim": 16, "mask_token_id": 2},
    ),
    "LaBSE": Architecture(
        "bert", word_pieces(BERT_TOKENS),
        {"do_lower_case": False, "model_max_length": 512, "tokenizer_class": "BertTokenizer"}, _WIDTH, bare=True,
    ),
    "XLM-V": Architecture(
        "xlm-roberta", _XLM_R, {"model_max_length": 512, "tokenizer_class": "XLMRobertaTokenizer"},
        {**_WIDTH, **_FAIRSEQ, "type_vocab_size": 1},
    ),
    "mT5 encoder": Architecture(
        "mt5", sentence_pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS}, "token-classification",
    ),
    "mT5 with a classification head": Architecture(
        "mt5", sentence_pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS},
    ),
    "Qwen3": Architecture(
        "qwen3", byte_pairs(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], None, qwen=True),
        {
            "tokenizer_class": "Qwen2Tokenizer", "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>",
            "bos_token": None, "unk_token": None, "model_max_length": 512,
        },
        {**_WIDTH, "num_key_value_heads": 1, "head_dim": 16},
    ),
    "Llama": Architecture(
        "llama", byte_pairs(_LLAMA, ("<|begin_of_text|>", ""), older=False), _LLAMA_TOLD,
        {**_WIDTH, "num_key_value_heads": 1},
    ),
    "Marian": Architecture(
        "marian", numbered(["</s>", "<unk>"], ["source.spm", "target.spm"], "unigram", ["<pad>"]),
        {"source_lang": "de", "target_lang": "ru", "model_max_length": 512},
        {**_SIDES, "eos_token_id": 0, "forced_eos_token_id": 0, "decoder_start_token_id": TOKENS - 1}, "translation",
    ),
    "M2M100": Architecture(
        "m2m_100", numbered(["<s>", "<pad>", "</s>", "<unk>"], ["sentencepiece.bpe.model"]),
        {"tokenizer_class": "M2M100Tokenizer", "model_max_length": 512},
        {**_SIDES, "vocab_size": 520, "decoder_start_token_id": 2}, "translation",
    ),
    "NLLB": Architecture(
        "m2m_100", with_json(sentence_pieces("sentencepiece.bpe.model", "bpe"), "NllbTokenizer"),
        {"tokenizer_class": "NllbTokenizer", "src_lang": "eng_Latn", "model_max_length": 512},
        {**_SIDES, "decoder_start_token_id": 2}, "translation", _CODES,
    ),
    "mT5": Architecture(
        "mt5", sentence_pieces("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1),
        {"tokenizer_class": "T5Tokenizer", "model_max_length": 512}, {**_T5, **_T5_TOKENS}, "translation",
        {"data.prefix": "translate {source} to {target}: "},
    ),
    "mBART": Architecture(
        "mbart", sentence_pieces("sentencepiece.bpe.model"),
        {"tokenizer_class": "MBartTokenizer", "model_max_length": 512},
        {**_SIDES, "scale_embedding": True}, "translation", _MBART_CODES,
    ),
    "mBART-50": Architecture(
        "mbart", sentence_pieces("sentencepiece.bpe.model"),
        {"tokenizer_class": "MBart50Tokenizer", "model_max_length": 512},
        {**_SIDES, "scale_embedding": True, "decoder_start_token_id": 2}, "translation", _MBART_CODES,
    ),
}  # fmt: skip
