"""Folders of encoders with random weights that know a hundred words, as sentence-transformers keeps them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = tuple(f"w{number}" for number in range(100))
PROMPTS = {"query": "query: ", "passage": "passage: "}
_SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
_WIDTH = 32


def write_encoder(folder: Path) -> Path:
    """A BERT of two layers whose tokenizer knows the words and the prompts."""
    words = [*_SPECIAL, *WORDS, *(prompt.strip() for prompt in PROMPTS.values())]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    around = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=around)
    names = dict(zip(("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"), _SPECIAL, strict=True))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)
    model = transformers.BertModel(config)
    with torch.no_grad():
        for weights in model.parameters():  # new weights are small: every layer is to matter
            weights.add_(torch.randn_like(weights), alpha=0.1)
    model.save_pretrained(folder)
    return folder


def write_sentence_model(
    folder: Path, pooling: str | Sequence[str] = "mean", dense: int | None = None, **settings: Any
) -> Path:
    """The same as sentence-transformers itself writes it.

    :param dense: Numbers of a vector, where a layer comes after pooling.
    :param settings: Of the class `SentenceTransformer`.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    body = modules.Transformer(str(write_encoder(folder.with_name(f"{folder.name}-encoder"))), max_seq_length=32)
    steps: list[Any] = [modules.Pooling(_WIDTH, pooling)]
    if dense:
        torch.manual_seed(1)
        steps.append(modules.Dense(steps[0].pooling_output_dimension, dense))
    SentenceTransformer(modules=[body, *steps, modules.Normalize()], device="cpu", **settings).save(str(folder))
    return folder


def texts(count: int, languages: Sequence[str] = ("de", "en")) -> Iterator[Mapping[str, str]]:
    """Rows of one to twelve words."""
    generator = random.Random(0)
    for number in range(count):
        words = generator.choices(WORDS, k=generator.randint(1, 12))
        yield {"text": " ".join(words), "lang": languages[number % len(languages)]}


def pairs(count: int) -> Iterator[Mapping[str, str]]:
    """Queries, and passages that say more; two after one another are of one group, in two languages."""
    generator = random.Random(1)
    for number, row in enumerate(texts(count)):
        more = " ".join(generator.choices(WORDS, k=2))
        yield {**row, "text_pair": f"{row['text']} {more}", "group": str(number // 2)}


def write_rows(path: Path, rows: Iterator[Mapping[str, str]]) -> Path:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
