"""Exported folders in Optimum's classes and in the pipelines of transformers 4, in an environment of their own.

`make interop` makes the runs, one for each task, and names their folder in ``COMPRESS_INTEROP``.
"""

import pytest
import torch
import transformers
from interop_students import RUNS, predictions_of, rows_of, share_of_alike_answers, share_of_equal
from optimum import onnxruntime as optimum
from transformers import AutoTokenizer, pipeline

FOLDERS = {"onnx": 1.0, "onnx-int8": 0.8, "bundle/models/cpu/onnx/1": 1.0}


@pytest.fixture(params=FOLDERS.items(), ids=FOLDERS)
def variant(request) -> tuple[str, float]:
    """A folder, and the share of rows with the same prediction at least."""
    return request.param


def classified(model, tokenizer, row: dict) -> str:
    inputs = tokenizer(row["text"], row["text_pair"], truncation=True, max_length=48, return_tensors="pt")
    return model.config.id2label[int(model(**inputs).logits.argmax())]


def test_text_classification(variant):
    name, least = variant
    folder = RUNS / "text-classification" / name
    model = optimum.ORTModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = rows_of("text-classification")
    found = [classified(model, tokenizer, row) for row in rows]
    assert share_of_equal(found, predictions_of("text-classification")) >= least
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    piped = [classify({"text": row["text"], "text_pair": row["text_pair"]})["label"] for row in rows]
    assert piped == found


def first_labels(model, tokenizer, words: list[str]) -> list[str]:
    inputs = tokenizer(words, is_split_into_words=True, truncation=True, max_length=48, return_tensors="pt")
    best = model(**inputs).logits[0].argmax(-1).tolist()
    first: dict[int, str] = {}
    for word, label in zip(inputs.word_ids(), best, strict=True):
        if word is not None:
            first.setdefault(word, model.config.id2label[label])
    return [first[word] for word in sorted(first)]


def test_token_classification(variant):
    name, least = variant
    folder = RUNS / "token-classification" / name
    model = optimum.ORTModelForTokenClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found, wanted = [], []
    for row, prediction in zip(rows_of("token-classification"), predictions_of("token-classification"), strict=True):
        labels = first_labels(model, tokenizer, row["text"])
        if len(labels) == len(prediction):  # not cut
            found += labels
            wanted += prediction
    assert share_of_equal(found, wanted) >= least


def test_question_answering(variant):
    name, least = variant
    folder = RUNS / "question-answering" / name
    model = optimum.ORTModelForQuestionAnswering.from_pretrained(folder)
    assert share_of_alike_answers(model, folder) >= min(least, 0.95)


@pytest.mark.parametrize("use_merged", [False, True])
def test_translation(variant, use_merged: bool):
    name, least = variant
    folder = RUNS / "translation" / name
    model = optimum.ORTModelForSeq2SeqLM.from_pretrained(folder, use_merged=use_merged)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for row in rows_of("translation"):
        target = row["lang"].partition("-")[2]
        inputs = tokenizer(f">>{target}<< {row['text']}", return_tensors="pt")
        written = model.generate(**inputs, num_beams=2, max_new_tokens=48)
        found.append(tokenizer.decode(written[0], skip_special_tokens=True))
    assert share_of_equal(found, predictions_of("translation")) >= least


def test_a_model_that_was_exported_as_it_is_with_its_weights_beside_the_graph(variant):
    name, least = variant
    folder = RUNS / "as-is" / name
    assert (folder / "model.onnx_data").is_file()
    model = optimum.ORTModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    own = transformers.AutoModelForSequenceClassification.from_pretrained(RUNS / "text-classification/teacher").eval()
    rows = rows_of("text-classification")
    found, wanted = ([classified(each, tokenizer, row) for row in rows] for each in (model, own))
    assert share_of_equal(found, wanted) >= least


def test_a_trimmed_model_says_the_same_of_texts_whose_tokens_are_all_kept():
    folders = (RUNS / "text-classification/teacher", RUNS / "trimmed")
    before, after = (transformers.AutoModelForSequenceClassification.from_pretrained(each).eval() for each in folders)
    assert after.config.vocab_size < before.config.vocab_size
    for row in [row for row in rows_of("text-classification") if row["lang"] == "de"]:
        logits = []
        for model, folder in zip((before, after), folders, strict=True):
            tokenizer = AutoTokenizer.from_pretrained(folder)
            inputs = tokenizer(row["text"], row["text_pair"], truncation=True, max_length=48, return_tensors="pt")
            with torch.no_grad():
                logits.append(model(**inputs).logits)
        assert torch.allclose(*logits, atol=1e-6)


def test_the_student_itself_translates_in_a_pipeline():
    folder = str(RUNS / "translation/student")
    translate = pipeline("text2text-generation", model=folder, tokenizer=folder)
    rows = rows_of("translation")[:8]
    texts = [f">>{row['lang'].partition('-')[2]}<< {row['text']}" for row in rows]
    found = [each["generated_text"] for each in translate(texts, num_beams=2, max_new_tokens=48)]
    assert found == predictions_of("translation")[:8]


def test_versions_are_those_of_users_who_have_not_moved_on():
    assert transformers.__version__.startswith("4.57")
    assert torch.__version__ >= "2"
