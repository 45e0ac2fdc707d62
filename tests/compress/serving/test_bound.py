"""A model that is given so much memory: which batches it makes, and what does not fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from compress import load
from compress.errors import CompressError
from compress.memory import give_back_memory, resident_memory
from compress.serving.client import Model
from compress.serving.format import Description

LONGEST, BYTES_A_TOKEN = 64, 200_000
TEXTS = ["w " * length for length in (LONGEST, LONGEST // 2, 3) for _ in range(20)]


def description(**fields: Any) -> Description:
    told = {"task": "text-classification", "labels": ["no", "yes"], "runtime": "ONNX Runtime", "target": "any"}
    return Description(**{"name": "model", "pairs": False, "max_length": LONGEST, **told, **fields})


def opened(read: list[tuple[int, int]]) -> tuple[Any, Any]:
    """A tokenizer, and a model that takes memory by the token and notes the shapes that it reads."""
    tokenizer = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "w": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        read.append(inputs["input_ids"].shape)
        held = np.ones(inputs["input_ids"].size * BYTES_A_TOKEN, np.uint8)
        return np.full((len(inputs["input_ids"]), 2), held[-1], np.float32)

    return fast, predict


def test_batches_of_a_model_have_as_many_tokens_as_its_memory_holds():
    read: list[tuple[int, int]] = []
    give_back_memory()
    room = 5 * LONGEST * BYTES_A_TOKEN
    model = Model(Path(), description(), opened=opened(read), memory=resident_memory() + room)
    assert read == [(1, LONGEST)]
    assert len(model.predict(TEXTS)) == len(TEXTS)
    largest = max(rows * tokens for rows, tokens in read)
    assert 2 * LONGEST <= largest <= 5 * LONGEST


def test_without_a_bound_nothing_is_tried_and_all_are_read_at_once():
    read: list[tuple[int, int]] = []
    model = Model(Path(), description(), opened=opened(read))
    assert not read
    model.predict(TEXTS)
    assert sorted(read) == [(20, 3), (20, LONGEST // 2), (20, LONGEST)]


def test_memory_that_does_not_hold_a_row_is_refused_with_what_would():
    with pytest.raises(CompressError) as refused:
        Model(Path(), description(), opened=opened([]), memory=1_000_000)
    told = re.fullmatch(
        r"memory=1000000: with model this process holds \d+ MB, and a row of 64 tokens takes (\d+) MB more; give it "
        r"at least (\d+)e6 bytes, or ask a smaller model",
        str(refused.value),
    )
    assert told, str(refused.value)
    assert abs(int(told[1]) - LONGEST * BYTES_A_TOKEN / 1e6) < 3
    assert Model(Path(), description(), opened=opened([]), memory=int(int(told[2]) * 1e6 + 50e6))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"task": "translation", "labels": []}, "it writes, and what it remembers grows with that"),
        ({"reads": "text"}, "its tokenizer is in the graph, and nobody else knows its tokens"),
        ({"runtime": "TensorRT", "target": "sm86"}, "it runs on a GPU"),
        ({"target": "cuda"}, "it runs on a GPU"),
    ],
)
def test_what_cannot_be_held_to_a_bound_is_refused(fields: dict[str, Any], why: str):
    with pytest.raises(CompressError) as refused:
        Model(Path(), description(**fields), memory=10**9)
    assert str(refused.value) == f"memory: model cannot be held to a bound: {why}; leave it out"


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "1GB"])
def test_threads_and_memory_are_whole_numbers(given: Any, tmp_path: Path):
    for option in ("threads", "memory"):
        with pytest.raises(CompressError, match=f"{option}={given!r}: wanted is a whole number from 1 on, or none"):
            load(tmp_path, **{option: given})
