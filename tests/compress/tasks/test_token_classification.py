"""Words with labels: alignment with tokens, long rows, and scores against seqeval."""

import numpy as np
import pytest
from seqeval.metrics import f1_score

from compress.errors import CompressError
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

TASK = task_named("token-classification")
LABELS = ["B-LOC", "B-PER", "I-PER", "O"]
ROW = Row(["Ada", "Lovelace", "besuchte", "London", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"], "de")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([" ".join(ROW.text)] * 5, NewTokenizer(vocabulary_size=100, longest_piece=2), 64)


def perfect(examples: list[dict]) -> list[np.ndarray]:
    """Outputs that say exactly what the examples' labels are."""
    return [np.eye(len(LABELS))[np.maximum(example["labels"], 0)] for example in examples]


def test_a_word_s_label_stands_at_its_first_token(tokenizer):
    (example,) = TASK.encoder(tokenizer, Data(max_length=64), LABELS)([ROW])
    labelled = [(word, label) for word, label in zip(example["words"], example["labels"], strict=True) if word >= 0]
    assert labelled == [(0, 1), (1, 2), (2, 3), (3, 0), (4, 3)]
    assert len(example["input_ids"]) == len(example["labels"]) > 7
    assert all(label == -100 for word, label in zip(example["words"], example["labels"], strict=True) if word < 0)


@pytest.mark.parametrize("max_length", [8, 64])
def test_no_word_of_a_long_row_is_lost(tokenizer, max_length):
    examples = TASK.encoder(tokenizer, Data(max_length=max_length), LABELS)([ROW, ROW])
    assert (len(examples) > 2) == (max_length == 8)
    assert TASK.decode(perfect(examples), examples, [ROW, ROW], LABELS, tokenizer) == [ROW.label, ROW.label]


def test_spans_are_scored_as_seqeval_does():
    predicted = [["B-PER", "O", "O", "B-LOC", "O"], ["B-PER", "I-PER", "O", "O", "B-LOC"]]
    metrics = TASK.metrics(predicted, [ROW, ROW], LABELS)
    expected = f1_score([ROW.label, ROW.label], predicted)
    assert metrics["F1"].figure(np.arange(2)).value == pytest.approx(expected)
    assert metrics["accuracy"].figure(np.arange(2)).value == pytest.approx(0.7)


def test_parts_of_speech_have_no_spans():
    row = Row(["a", "b"], ["NOUN", "VERB"], "en")
    metrics = TASK.metrics([["NOUN", "NOUN"]], [row], ["NOUN", "VERB"])
    assert {name: metric.figure(np.arange(1)).value for name, metric in metrics.items()} == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"tokens": ["a", "b"], "labels": ["O"]}, "rows:1: 2 words but 1 labels; each word needs one"),
        ({"tokens": "a b", "labels": ["O", "O"]}, "rows:1: field 'tokens' must be a list of text, got 'a b'"),
        (
            {"words": ["a"], "labels": ["O"]},
            r"field 'tokens' is missing \(data.fields.text\); a row must have tokens, labels; this one has words",
        ),
    ],
)
def test_wrong_fields_are_named(content, message):
    with pytest.raises(CompressError, match=message):
        TASK.read_row("rows:1", content, TASK.FIELDS)


def test_a_served_text_is_json_or_none():
    assert TASK.served_text('["a", "b"]') == ["a", "b"]
    for text in ("[", "[" * 100_000, '{"a": 1'):
        with pytest.raises(ValueError, match=r"nested too deeply|Expecting|delimiter"):
            TASK.served_text(text)


@pytest.mark.parametrize("words", [["a", "\ud800"], ["a", 1], "a", [["a"]]])
def test_words_that_are_none_are_refused(words: object):
    with pytest.raises(
        CompressError, match=r"row 1: field 'tokens' (must be a list of text|has .ud800 at character 1)"
    ):
        TASK.read_row("row 1", {"tokens": words, "labels": ["O", "O"]}, dict(TASK.FIELDS))
