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
from compress.subprocesses import ask_limited


@pytest.fixture(autouse=True)
def real_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ask_limited", ask_limited)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    tokenizer = train_tokenizer(["Grüße aus München"] * 20, NewTokenizer(vocabulary_size=100), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(tokenizer), **sizes, num_labels=2)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "teacher")
    save_tokenizer(tokenizer, tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": "a", "lang": "de"}) + "\n" for text in "12"), "utf-8")
    return path


def tried(folder: Path, rows: Path) -> None:
    try_teacher("text-classification", Teacher(model=str(folder)), ["a", "b"], 16, [rows])


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


def test_a_sound_teacher_passes_without_its_weights_and_is_tried_once_until_it_changes(
    teacher: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(trial, "ask_limited", lambda *asking: asked.append(asking) or ask_limited(*asking))
    (teacher / "model.safetensors").write_bytes(b"what loads them says what is wrong with them")
    tried(teacher, rows)
    tried(teacher, rows)
    assert len(asked) == 1
    changed(teacher / "config.json", vocab_size=10**12)
    with pytest.raises(CompressError, match=r"teacher: its 16,000,000 million weights take at least 64000\.0 GB of m"):
        tried(teacher, rows)


A, B = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
UNTOLD = {"SpecialToken": {"id": "[NEW]", "type_id": 0}}


@pytest.mark.parametrize(
    "fields",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}},
        {"post_processor": {"type": "TemplateProcessing", "single": [UNTOLD, A], "pair": [A, B], "special_tokens": {}}},
        {"post_processor": {"type": "TemplateProcessing", "single": [A], "pair": [A, UNTOLD, B], "special_tokens": {}}},
    ],
    ids=["over text", "over a text alone", "over a pair"],
)
def test_a_tokenizer_that_panics_is_named(fields: dict, teacher: Path, rows: Path):
    changed(teacher / "tokenizer.json", **fields)
    with pytest.raises(CompressError, match=r"teacher: the process that tried to open it ended with .*PanicException"):
        tried(teacher, rows)


def test_a_tokenizer_that_fills_the_memory_over_a_text_of_the_rows_is_named(
    teacher: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trial, "_MEMORY", 1_500_000_000)
    longer = {"type": "Replace", "pattern": {"String": "2"}, "content": "2" * 1000}
    changed(teacher / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [longer] * 4})
    with pytest.raises(CompressError, match=r"teacher: the process that tried to open it was ended by SIGABRT"):
        tried(teacher, rows)
