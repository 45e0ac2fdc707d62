"""Folders for OpenVINO in Optimum's classes and in OpenVINO itself, in an environment of their own."""

import json
from pathlib import Path

import numpy as np
import openvino
import pytest
from interop_students import RUNS, predictions_of, rows_of, share_of_alike_answers, share_of_equal
from optimum import intel
from transformers import AutoTokenizer

LEAST = 0.8
"""The share of rows with the student's prediction in 32 bits at least."""


def folder_of(task: str) -> Path:
    return RUNS / task / "openvino-int8"


def tokens_of(folder: Path, row: dict, tensors: str):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer(row["text"], row["text_pair"], truncation=True, max_length=48, return_tensors=tensors)


def test_text_classification():
    folder = folder_of("text-classification")
    model = intel.OVModelForSequenceClassification.from_pretrained(folder)
    found = [
        model.config.id2label[int(model(**tokens_of(folder, row, "pt")).logits.argmax())]
        for row in rows_of("text-classification")
    ]
    assert share_of_equal(found, predictions_of("text-classification")) >= LEAST


def test_token_classification():
    folder = folder_of("token-classification")
    model = intel.OVModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found, wanted = [], []
    for row, prediction in zip(rows_of("token-classification"), predictions_of("token-classification"), strict=True):
        inputs = tokenizer(row["text"], is_split_into_words=True, truncation=True, max_length=48, return_tensors="pt")
        best = model(**inputs).logits[0].argmax(-1).tolist()
        labels = {}
        for word, label in zip(inputs.word_ids(), best, strict=True):
            if word is not None:
                labels.setdefault(word, model.config.id2label[label])
        if len(labels) == len(prediction):  # not cut
            found += labels.values()
            wanted += prediction
    assert share_of_equal(found, wanted) >= LEAST


def test_question_answering():
    folder = folder_of("question-answering")
    model = intel.OVModelForQuestionAnswering.from_pretrained(folder)
    assert share_of_alike_answers(model, folder) >= LEAST


@pytest.mark.parametrize("beams", [1, 2])
def test_translation(beams: int):
    folder = folder_of("translation")
    model = intel.OVModelForSeq2SeqLM.from_pretrained(folder)
    assert model.decoder.stateful
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = rows_of("translation")
    texts = [f">>{row['lang'].partition('-')[2]}<< {row['text']}" for row in rows]
    written = model.generate(**tokenizer(texts, padding=True, return_tensors="pt"), num_beams=beams, max_new_tokens=48)
    found = tokenizer.batch_decode(written, skip_special_tokens=True)
    assert share_of_equal(found, predictions_of("translation")) >= LEAST


def test_vectors():
    folder = folder_of("embedding")
    model = intel.OVModelForFeatureExtraction.from_pretrained(folder)
    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for told in json.loads((RUNS / "embedding-openvino.json").read_text("utf-8")):
        inputs = {
            "input_ids": np.array([told["tokens"]]),
            "attention_mask": np.ones((1, len(told["tokens"])), np.int64),
        }
        assert np.allclose(compiled(inputs)["sentence_embedding"][0], told["vector"], atol=1e-5)
        assert model(**inputs).last_hidden_state.shape[:2] == (1, len(told["tokens"]))


@pytest.mark.parametrize("task", ["text-classification", "token-classification", "question-answering"])
def test_openvino_itself_opens_what_optimum_opens(task: str):
    folder = folder_of(task)
    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU")
    wanted = {"input_ids", "attention_mask"}
    assert {name for port in compiled.inputs for name in port.names} >= wanted
    tokens = tokens_of(folder, rows_of("text-classification")[0], "np")
    found = compiled({name: value.astype(np.int64) for name, value in tokens.items() if name in wanted})
    assert all(np.isfinite(output).all() for output in found.values())
