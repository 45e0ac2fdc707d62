"""What was trained is exported, whatever its architecture: a training leaves nothing behind but weights."""

from __future__ import annotations

import numpy as np
import pytest
import small_encoders
import small_translators
import torch
from transformers import PreTrainedModel

from compress.data.table import RowTable
from compress.models.describe import label_maps
from compress.models.load import model_class, save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer, Training
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.training.collator import Collator
from compress.training.rows import training_data
from compress.training.trainer import TrainingJob, train
from export.onnx.plain import export_onnx

LABELS = ["a", "b", "c"]
TEXTS = ["one two three", "two three", "three", "one and two", "and three", "two", "one", "and"]
READS = {name: ("text-classification", config) for name, config in small_encoders.CONFIGS.items()}
WRITES = {name: ("translation", config) for name, config in small_translators.CONFIGS.items()}


def settings_of(model: PreTrainedModel) -> list[dict]:
    """What is saved beside the weights."""
    return [model.config.to_dict(), *([model.generation_config.to_dict()] if model.can_generate() else [])]


@pytest.mark.parametrize("architecture", [*READS, *WRITES])
def test_a_trained_model_is_exported_with_the_configuration_that_it_had(architecture: str, tmp_path):
    name, configuration = {**READS, **WRITES}[architecture]
    task, settings = task_named(name), NewTokenizer(vocabulary_size=100, longest_piece=3)
    rows = [
        Row(text, TEXTS[-1 - number], "en-de") if task.GENERATES else Row(text, LABELS[number % 3], "en")
        for number, text in enumerate(TEXTS)
    ]
    tokenizer = train_tokenizer(TEXTS, settings, 16, [">>de<<"] if task.GENERATES else None)
    config = configuration()
    config.update({"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id})
    labels = [] if task.GENERATES else LABELS
    config.update(dict(label_maps(labels)))
    torch.manual_seed(0)
    model = model_class(task).from_config(config)
    before = settings_of(model)
    encode = task.encoder(tokenizer, Data(max_length=16), labels)
    table = RowTable.from_rows(rows)
    job = TrainingJob(
        title="student",
        task=task,
        data=training_data(table, table, encode, tmp_path / "rows"),
        settings=Training(epochs=1, batch_size=4, mask_probability=0),
        seed=0,
        scratch=tmp_path / "training",
        logs=tmp_path / "logs",
        collate=Collator(tokenizer, 0.0, 0),
    )
    assert train(model, job).steps == 2
    assert settings_of(model) == before

    for folder in ("student", "onnx"):
        (tmp_path / folder).mkdir()
    model.save_pretrained(tmp_path / "student")
    save_tokenizer(tokenizer, tmp_path / "student")
    export_onnx(task, tmp_path / "student", tmp_path / "onnx", labels)
    wanted, found = (
        predict_examples(
            load_predict(tmp_path / folder, task, Search(1, 1.0, 8)), task, encode(rows), tokenizer.pad_token_id
        )
        for folder in ("student", "onnx")
    )
    assert all(np.allclose(one, other, atol=1e-4) for one, other in zip(wanted, found, strict=True))
