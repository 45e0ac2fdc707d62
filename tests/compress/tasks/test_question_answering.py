"""Questions and contexts: windows, answers back in characters, and MLQA's scores on cases worked out by hand."""

import numpy as np
import pytest

from compress.errors import CompressError
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

TASK = task_named("question-answering")
CONTEXT = "Die Brücke wurde 1932 eröffnet. Sie ist 503 Meter lang und führt über den Hafen von Sydney in Australien."
ANSWER = "Hafen von Sydney"
ROW = Row(
    "Worüber führt die Brücke?",
    {"text": [ANSWER], "answer_start": [CONTEXT.index(ANSWER)]},
    "de",
    text_pair=CONTEXT,
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([CONTEXT, ROW.text] * 3, NewTokenizer(vocabulary_size=100, longest_piece=2), 512)


def sure_of_the_label(examples: list[dict]) -> list[np.ndarray]:
    """Outputs that are high at the first and last token of the answer, and low where a window lacks it."""
    outputs = []
    for example in examples:
        logits = np.full((len(example["input_ids"]), 2), -1.0)
        for side, token in enumerate(example["labels"]):
            logits[token, side] = 5.0
        outputs.append(logits)
    return outputs


@pytest.mark.parametrize(("max_length", "windows"), [(512, 1), (64, 2)])
def test_answers_come_back_in_characters(tokenizer, max_length, windows):
    examples = TASK.encoder(tokenizer, Data(max_length=max_length), [])([ROW])
    assert len(examples) == windows
    assert all(len(example["input_ids"]) <= max_length for example in examples)
    assert TASK.decode(sure_of_the_label(examples), examples, [ROW], [], tokenizer) == [ANSWER]


def test_windows_overlap_so_that_an_answer_is_whole_in_one(tokenizer):
    for start in range(len(CONTEXT) - 8):
        row = Row(ROW.text, {"text": [CONTEXT[start : start + 8]], "answer_start": [start]}, "de", text_pair=CONTEXT)
        examples = TASK.encoder(tokenizer, Data(max_length=64), [])([row])
        assert any(example["labels"] != [0, 0] for example in examples)


def test_a_question_that_fills_the_window_is_cut(tokenizer):
    long = Row(ROW.text * 20, ROW.label, "de", text_pair=CONTEXT)
    examples = TASK.encoder(tokenizer, Data(max_length=64), [])([long])
    assert TASK.decode(sure_of_the_label(examples), examples, [long], [], tokenizer) == [ANSWER]


@pytest.mark.parametrize("kind", ["byte-level", "unigram"])
@pytest.mark.parametrize("max_length", [8, 16, 64])
def test_a_question_is_cut_by_its_tokens_of_which_a_character_may_have_several(kind: str, max_length: int):
    own = train_tokenizer([CONTEXT] * 3, NewTokenizer(model=kind, vocabulary_size=300, longest_piece=2), 64)
    row = Row("这个城市的人口是多少😀" * 3, ROW.label, "zh", text_pair=CONTEXT)
    examples = TASK.encoder(own, Data(max_length=max_length), [])([row])
    assert max(len(example["input_ids"]) for example in examples) == max_length
    reached = max(end for example in examples for end in example["ends"])
    assert reached == len(CONTEXT)


@pytest.mark.parametrize(
    "answers",
    [
        {"text": "Hafen", "answer_start": [3]},
        {"text": ["Hafen"], "answer_start": ["3"]},
        {"text": ["Hafen"], "answer_start": [True]},
        {"text": [5], "answer_start": [3]},
        {"text": ["Hafen"], "answer_start": [-5]},
        {"text": [], "answer_start": []},
        {"text": ["Hafen"], "answer_start": [3, 4]},
        {"text": ["a", "b"], "answer_start": 2},
        [["Hafen", 3]],
    ],
)
def test_answers_of_another_form_are_refused(answers: object):
    with pytest.raises(CompressError, match=r"row 7: field 'answers' must have lists 'text' and 'answer_start' of the"):
        TASK.read_row("row 7", {"question": "?", "context": "Hafen", "answers": answers}, dict(TASK.FIELDS))


def test_an_answer_that_is_blank_or_elsewhere_is_refused():
    for answer, start in ((" ", 5), ("hafen", 0), ("Hafen", 1)):
        content = {"question": "?", "context": "Hafen ", "answers": {"text": [answer], "answer_start": [start]}}
        with pytest.raises(CompressError, match=r"does not stand at character \d of the context"):
            TASK.read_row("row 7", content, dict(TASK.FIELDS))


def test_spans_are_in_order_and_short(tokenizer):
    (example,) = TASK.encoder(tokenizer, Data(max_length=512), [])([ROW])
    logits = np.zeros((len(example["input_ids"]), 2))
    first, last = example["labels"]
    logits[last, 0] = logits[first, 1] = 9.0  # the best start comes after the best end
    (answer,) = TASK.decode([logits], [example], [ROW], [], tokenizer)
    assert answer in CONTEXT
    assert 0 < len(tokenizer(answer, add_special_tokens=False)["input_ids"]) <= 31


# By hand, after the rules of the MLQA evaluation: case, punctuation and articles do not count; Chinese by character.
@pytest.mark.parametrize(
    ("language", "answer", "wanted", "exact", "f1"),
    [
        ("en", "the Old Town!", "Old Town", 1, 1),
        ("en", "a town", "old town", 0, 2 / 3),
        ("de", "Die Brücke", "eine Brücke", 1, 1),
        ("es", "el río Tajo", "río", 0, 2 / 3),
        ("ru", "в 1932 году", "1932 год", 0, 2 / 5),
        ("ar", "الكتاب", "كتاب", 1, 1),
        ("zh", "悉尼港", "悉尼", 0, 4 / 5),
        ("zh", "《悉尼港》", "悉尼港", 1, 1),
        ("zh", "2012年 NFL", "2012年NFL", 1, 1),
        ("en", "", "town", 0, 0),
        ("en", "$5", "5", 1, 1),
    ],
)
def test_scores_are_mlqas(language, answer, wanted, exact, f1):
    row = Row("?", {"text": [wanted], "answer_start": [0]}, language, text_pair=wanted)
    metrics = TASK.metrics([answer], [row], [])
    assert metrics["exact match"].figure(np.arange(1)).value == exact
    assert metrics["F1"].figure(np.arange(1)).value == pytest.approx(f1)


def test_the_best_of_several_answers_counts():
    row = Row("?", {"text": ["1932", "im Jahr 1932"], "answer_start": [0, 0]}, "de", text_pair="im Jahr 1932")
    assert TASK.metrics(["im Jahr 1932"], [row], [])["exact match"].figure(np.arange(1)).value == 1


def test_an_answer_is_found_again_after_normalisation():
    decomposed = "  Cafe\u0301 in Zu\u0308rich"
    content = {"question": "Wo?", "context": decomposed, "answers": {"text": ["Zu\u0308rich"], "answer_start": [11]}}
    row = TASK.read_row("rows:1", content, TASK.FIELDS)
    (start,), (text,) = row.label["answer_start"], row.label["text"]
    assert row.text_pair is not None
    assert row.text_pair[start : start + len(text)] == "Zürich"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"text": ["b"], "answer_start": [0]}, "rows:3: the answer 'b' does not stand at character 0 of the context"),
        ({"text": ["a"], "answer_start": []}, "field 'answers' must have lists 'text' and 'answer_start'"),
        ("a", "'answer_start' of the same length, of text and of whole numbers, got 'a'"),
        (
            None,
            r"rows:3: field 'answers' is missing \(data.fields.label\); a row must have question, context, answers;",
        ),
    ],
)
def test_wrong_answers_are_named(answers, message):
    with pytest.raises(CompressError, match=message):
        TASK.read_row("rows:3", {"question": "?", "context": "a b", "answers": answers}, TASK.FIELDS)
