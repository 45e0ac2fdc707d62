"""A prefix stands before each row's text, whatever the task, and nothing is found in it."""

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.recipe import Recipe
from compress.recipe.training import NewTokenizer
from compress.serving.format import Description
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

PREFIX = "query: "
PLAIN, ASKED = Data(max_length=64), Data(max_length=64, prefix=PREFIX)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(["query: wo liegt Köln am Rhein"] * 5, NewTokenizer(vocabulary_size=100), 64)


@pytest.mark.parametrize("task", ["text-classification", "regression", "multi-label-classification"])
@pytest.mark.parametrize("pair", [None, "am Rhein"])
def test_it_stands_before_the_first_text(tokenizer, task, pair):
    label = {"text-classification": "a", "regression": 1.0, "multi-label-classification": ["a"]}[task]
    rows = [Row("Köln", label, "de", text_pair=pair)]
    (asked,) = task_named(task).encoder(tokenizer, ASKED, ["a"])(rows)
    (written,) = task_named(task).encoder(tokenizer, PLAIN, ["a"])([Row(PREFIX + "Köln", label, "de", text_pair=pair)])
    assert asked == written
    assert tokenizer.decode(asked["input_ids"]).count("query") == 1


def test_it_stands_before_a_question_and_answers_stay_where_they_were(tokenizer):
    task, row = task_named("question-answering"), Row("wo", {"text": ["Rhein"], "answer_start": [3]}, "de", "am Rhein")
    (example,) = task.encoder(tokenizer, ASKED, [])([row])
    logits = np.full((len(example["input_ids"]), 2), -1.0)
    for side, token in enumerate(example["labels"]):
        logits[token, side] = 5.0
    assert "query" in tokenizer.decode(example["input_ids"])
    assert task.decode([logits], [example], [row], [], tokenizer) == ["Rhein"]


def test_its_words_have_no_label(tokenizer):
    task, row = task_named("token-classification"), Row(["Köln", "am", "Rhein"], ["L", "O", "L"], "de")
    (example,) = task.encoder(tokenizer, ASKED, ["L", "O"])([row])
    assert tokenizer.decode(example["input_ids"]).count("query") == 1
    assert [(word, label) for word, label in zip(example["words"], example["labels"], strict=True) if word >= 0] == [
        (0, 0),
        (1, 1),
        (2, 0),
    ]
    outputs = np.eye(2)[np.maximum(example["labels"], 0)]
    assert task.decode([outputs], [example], [row], ["L", "O"], tokenizer) == [row.label]


def test_languages_are_named_in_that_of_a_translation_alone():
    said = r"\{source\} and \{target\} are the languages of a translation"
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({"data": {"prefix": "from {source}: "}})
    assert Recipe.model_validate({"data": {"prefix": "{{query}}: "}}).data.prefix == "{{query}}: "
    with pytest.raises(ValidationError, match=said):
        Description(
            name="a", task="text-classification", labels=["a"], runtime="ONNX Runtime", target="any", pairs=False,
            max_length=8, prefix="{target}",
        )  # fmt: skip
