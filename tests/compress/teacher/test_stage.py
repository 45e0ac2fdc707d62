"""The teacher stage with a model from elsewhere, taken as it is."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import small_vocabularies
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertConfig

from compress.data.stage import load_data, run_data_stage
from compress.errors import CompressError
from compress.models.load import save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.recipe.recipe import Recipe
from compress.recipe.training import NewTokenizer
from compress.runs.directory import Run, open_run
from compress.teacher.stage import run_teacher_stage

TEXTS = {"bad": "schlecht", "good": "sehr gut"}
NAMES = {"label_names": {"bad": "LABEL_0", "good": "LABEL_1"}}


def write_rows(folder: Path, more: str = "", lang: str = "de") -> Path:
    """Two labels, in German, with more text in another language."""
    folder.mkdir()
    for split in ("train", "validation", "test"):
        lines = [
            {"text": f"{split} {TEXTS[label]} {number}{more}", "label": label, "lang": lang}
            for number in range(10)
            for label in TEXTS
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data")


def run_with(rows: Path, labels: list[str], teacher: Mapping[str, object] | None = None, **data: object) -> Run:
    """A run whose teacher has these labels, and a tokenizer that knows Latin letters."""
    folder = rows.parent / "teacher"
    tokenizer = train_tokenizer([*TEXTS.values(), "0123456789 train validation test"], NewTokenizer(), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(labels)), **sizes)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    recipe = {
        "data": {"source": str(rows), "max_length": 16, **data},
        "teacher": {"model": str(folder), "fine_tune": False, **(teacher or {})},
    }
    return open_run(Recipe.model_validate(recipe), rows.parent / "runs")


def test_a_teachers_labels_keep_their_order_and_take_the_datas_names(rows: Path):
    run = run_with(rows, ["LABEL_0", "LABEL_1", "LABEL_2"], label_names={"good": "LABEL_0", "bad": "LABEL_2"})
    run_data_stage(run)
    run_teacher_stage(run)
    assert load_data(run).labels == ["good", "LABEL_1", "bad"]
    assert AutoConfig.from_pretrained(run.folder / "teacher").id2label == {0: "good", 1: "LABEL_1", 2: "bad"}


def test_labels_that_do_not_match_are_asked_for_before_anything_is_made(rows: Path):
    with pytest.raises(CompressError, match=r"has no label 'bad', but LABEL_0, LABEL_1; .*in data.label_names"):
        run_data_stage(run_with(rows, ["LABEL_0", "LABEL_1"]))


def test_a_language_that_the_tokenizer_hardly_knows_is_allowed_by_name_alone(tmp_path: Path, capsys):
    rows = write_rows(tmp_path / "data", " 北海道の天気は晴れでしょう" * 4, "ja")
    run = run_with(rows, ["LABEL_0", "LABEL_1"], **NAMES)
    run_data_stage(run)
    message = r"not know (\d\d\.\d) % of the tokens in ja; .*or allow it: teacher.allow_unknown_tokens: \[ja\]"
    with pytest.raises(CompressError, match=message):
        run_teacher_stage(run)
    run = run_with(rows, ["LABEL_0", "LABEL_1"], {"allow_unknown_tokens": ["ja"]}, **NAMES)
    run_teacher_stage(run)
    assert re.search(r"warning: its tokenizer does not know \d\d\.\d % of the tokens in ja", capsys.readouterr().err)
    with pytest.raises(CompressError, match=r"teacher.allow_unknown_tokens: no rows in xx"):
        run_teacher_stage(run_with(rows, ["LABEL_0", "LABEL_1"], {"allow_unknown_tokens": ["xx"]}, **NAMES))


def test_some_unknown_tokens_are_a_warning_with_the_figure(tmp_path: Path, capsys):
    run = run_with(write_rows(tmp_path / "data", " 天気", "ja"), ["LABEL_0", "LABEL_1"], **NAMES)
    run_data_stage(run)
    run_teacher_stage(run)
    assert re.search(r"warning: its tokenizer does not know \d+\.\d % of the tokens in ja", capsys.readouterr().err)


def test_a_translation_teacher_is_trimmed_by_both_languages_text(tmp_path: Path):
    model, tokenizer = small_vocabularies.build("Marian", tmp_path / "teacher")
    model.save_pretrained(tmp_path / "teacher")
    save_tokenizer(tokenizer, tmp_path / "teacher")
    texts = small_vocabularies.texts()
    lines = [
        {"source": source, "target": target, "source_lang": "de", "target_lang": "ru"}
        for source, target in zip(texts["de"], texts["ru"], strict=True)
    ]
    (tmp_path / "data").mkdir()
    for split, part in (("train", lines[:100]), ("validation", lines[100:125]), ("test", lines[125:])):
        (tmp_path / "data" / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in part))
    recipe = {
        "task": "translation",
        "data": {"source": str(tmp_path / "data"), "max_length": 64},
        "teacher": {"model": str(tmp_path / "teacher"), "fine_tune": False, "vocabulary": {"trim": True}},
    }
    run = open_run(Recipe.model_validate(recipe), tmp_path / "runs")
    run_data_stage(run)
    summary = run_teacher_stage(run)
    trimming, brought = summary.vocabulary, summary.brought
    assert trimming is not None
    assert brought is not None
    assert brought.bytes == (tmp_path / "teacher/model.safetensors").stat().st_size
    assert brought.tokens == trimming.tokens_before
    assert brought.bytes / 1.02 < (run.folder / "teacher/model.safetensors").stat().st_size + (
        1e6 * trimming.saved_megabytes
    )
    assert trimming.used.keys() == trimming.held_out.keys() == {"de", "ru"}
    assert trimming.tokens_after < trimming.tokens_before
    trimmed = AutoTokenizer.from_pretrained(run.folder / "teacher")
    for side, lang in (("text", "de"), ("text_target", "ru")):
        ids = [t(**{side: texts[lang][0]})["input_ids"] for t in (trimmed, tokenizer)]
        assert trimmed.convert_ids_to_tokens(ids[0]) == tokenizer.convert_ids_to_tokens(ids[1])
    assert AutoConfig.from_pretrained(run.folder / "teacher").decoder_start_token_id == trimmed.pad_token_id
