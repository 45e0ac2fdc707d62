"""A teacher that would end the process that loads it ends another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, BertConfig

from compress.errors import CompressError
from compress.models import trial
from compress.models.load import save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.models.trial import try_teacher
from compress.recipe.teacher import Teacher
from compress.recipe.training import NewTokenizer


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["Grüße aus München"] * 20, NewTokenizer(vocabulary_size=100), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(tokenizer), **sizes, num_labels=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "teacher")
    save_tokenizer(tokenizer, tmp_path / "teacher")
    return tmp_path / "teacher"


def tried(folder: Path) -> None:
    try_teacher("text-classification", Teacher(model=str(folder)), ["a", "b"], 16)


def test_a_sound_teacher_passes_and_of_another_one_is_said_what_loading_says(teacher: Path):
    tried(teacher)
    (teacher / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CompressError, match=r"teacher: the model cannot be loaded \(Error while deserializing header"):
        tried(teacher)


def test_a_tokenizer_that_panics_is_named(teacher: Path):
    content = json.loads((teacher / "tokenizer.json").read_text("utf-8"))
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}
    (teacher / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    with pytest.raises(CompressError, match=r"teacher: the process that tried to load it ended with .*PanicException"):
        tried(teacher)


def test_a_model_that_fills_the_memory_is_named(teacher: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "_MEMORY", 1_000_000_000)
    monkeypatch.setattr(trial, "_TIMES_ITS_SIZE", 0)
    config = json.loads((teacher / "config.json").read_text("utf-8"))
    (teacher / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a" * 300_000_000}}), "utf-8")
    with pytest.raises(CompressError, match=r"teacher: .*MemoryError"):
        tried(teacher)
