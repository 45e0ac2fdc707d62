"""What a model that ranks is asked with, and in which order it answers; its scores are numbers that passages name."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress.cli.predict import Asked, _answered, rows_to_ask
from compress.serving.client import Model
from compress.serving.format import Description

PASSAGES = ["w2", "w5", "w3"]
RANKED = [("w5", 1), ("w3", 2), ("w2", 0)]


@pytest.fixture(scope="module")
def model() -> Model:
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *(f"w{number}" for number in range(9))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")

    def predict(inputs: dict[str, Any]) -> Any:
        return inputs["input_ids"].max(axis=1, keepdims=True).astype(np.float32)

    told: dict[str, Any] = {"name": "model", "labels": [], "runtime": "PyTorch", "target": "any", "max_length": 8}
    description = Description(task="reranking", pairs=True, activation="identity", **told)
    return Model(Path(), description, opened=(fast, predict))


@pytest.mark.parametrize(
    "passages",
    [
        PASSAGES,
        tuple(PASSAGES),
        np.array(PASSAGES),
        dict.fromkeys(PASSAGES),
        pandas.Series(PASSAGES, index=[2, 0, 1]),
    ],
    ids=lambda passages: type(passages).__name__,
)
def test_passages_may_come_in_any_collection_and_stand_in_its_order(model: Model, passages: Collection[str]):
    assert [(found.passage, found.place) for found in model.rank("w1", passages)] == RANKED


def test_passages_of_the_command_line_are_ranked_and_rows_of_a_file_stay_in_their_order(
    model: Model, tmp_path: Path, capsys
):
    given = _answered(model, Asked(["w1"] * 3, PASSAGES), in_json=True, ranked=True)
    assert [answer.text_pair for answer in given.answers] == [passage for passage, _ in RANKED]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"query": "w1", "passage": passage}) + "\n" for passage in PASSAGES), "utf-8")
    read = _answered(model, rows_to_ask(model, rows, None), in_json=True)
    assert [answer.text_pair for answer in read.answers] == PASSAGES
