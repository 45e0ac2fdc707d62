"""The teacher stage with a model from elsewhere, taken as it is."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, BertConfig

from compress.data.stage import load_data, run_data_stage
from compress.errors import CompressError
from compress.models.load import save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.recipe.recipe import Recipe
from compress.recipe.training import NewTokenizer
from compress.runs.directory import Run, open_run
from compress.teacher.stage import run_teacher_stage

TEXTS = {"bad": "schlecht", "good": "sehr gut"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two labels, in German."""
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        lines = [
            {"text": f"{split} {TEXTS[label]} {number}", "label": label, "lang": "de"}
            for number in range(10)
            for label in TEXTS
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def run_with(rows: Path, labels: list[str], **data: object) -> Run:
    """A run whose teacher has these labels."""
    folder = rows.parent / "teacher"
    tokenizer = train_tokenizer([*TEXTS.values(), "0123456789 train validation test"], NewTokenizer(), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), id2label=dict(enumerate(labels)), **sizes)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    recipe = {
        "data": {"source": str(rows), "max_length": 16, **data},
        "teacher": {"model": str(folder), "fine_tune": False},
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
