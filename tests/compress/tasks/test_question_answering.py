"""Questions and contexts: windows, answers back in characters, and MLQA's scores on cases worked out by hand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from compress.data.table import RowTable
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
        {"text": [], "answer_start": [3]},
        {"text": ["Hafen"], "answer_start": []},
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


NOWHERE = Row("Wer baute sie?", {"text": [], "answer_start": []}, "de", text_pair=CONTEXT)


def test_a_question_without_an_answer_is_read_and_points_at_the_first_token(tokenizer):
    content = {"question": "Wer baute sie?", "context": CONTEXT, "answers": {"text": [], "answer_start": []}}
    assert TASK.read_row("row 7", content, dict(TASK.FIELDS)).label == NOWHERE.label
    examples = TASK.encoder(tokenizer, Data(max_length=64), [])([NOWHERE, ROW])
    assert {tuple(example["labels"]) for example in examples if example["row"] == 0} == {(0, 0)}


def test_tables_hold_rows_whatever_the_first_of_them_lacks():
    assert list(RowTable.from_rows([NOWHERE, ROW])) == [NOWHERE, ROW]


def said(examples: list[dict], nulls: list[float]) -> list[np.ndarray]:
    """Outputs that find the answer with a score of 4, a span where there is none with 3.8, and null with these."""
    outputs = []
    for example, null in zip(examples, nulls, strict=True):
        logits = np.full((len(example["input_ids"]), 2), -3.0, dtype=np.float32)
        for side, token in enumerate(example["labels"]):
            logits[token or next(at for at, start in enumerate(example["starts"]) if start >= 0), side] = (
                2.0 if token else 1.9
            )
        logits[0] = null / 2
        outputs.append(logits)
    return outputs


def test_there_is_no_answer_where_the_lowest_null_score_beats_the_best_span_by_the_threshold(tokenizer):
    examples = TASK.encoder(tokenizer, Data(max_length=64), [])([ROW])
    assert len(examples) == 2
    for nulls, threshold, answer in (
        ([9.0, 5.5], 1.0, ""),
        ([5.5, 9.0], 1.0, ""),
        ([9.0, 5.0], 1.0, ANSWER),  # it must be more
        ([9.0, 4.5], 1.0, ANSWER),
        ([9.0, 3.5], -1.0, ""),
    ):
        outputs = said(examples, nulls)
        assert TASK.decode(outputs, examples, [ROW], [], tokenizer, [threshold]) == [answer]
        assert TASK.decode(outputs, examples, [ROW], [], tokenizer) == [ANSWER]


def squad_2(predictions: dict, golds: dict, margins: dict) -> tuple[dict, dict, float]:
    """`get_raw_scores` and `find_best_thresh` of SQuAD 2's evaluate-v2.0.py, on normalised tokens."""

    def f1(gold: list[str], given: list[str]) -> float:
        common = sum((Counter(gold) & Counter(given)).values())
        if not gold or not given:
            return float(gold == given)
        precision, recall = common / len(given), common / len(gold)
        return 2 * precision * recall / (precision + recall) if common else 0.0

    scores = {
        name: max(f1(gold.split(), given.split()) for gold in golds[name] or [""])
        for name, given in predictions.items()
    }
    exact = {name: max(float(gold == given) for gold in golds[name] or [""]) for name, given in predictions.items()}
    best = current = sum(not gold for gold in golds.values())
    for name in sorted(margins, key=lambda name: margins[name]):
        current += scores[name] if golds[name] else (-1 if predictions[name] else 0)
        best = max(best, current)
    return scores, exact, best / len(golds)


def test_scores_and_the_best_threshold_are_squad_2s(tokenizer):
    generator = np.random.default_rng(0)
    words = CONTEXT.lower().replace(".", "").split()
    rows, nulls = [], []
    for number in range(60):
        first = int(generator.integers(0, len(words) - 3))
        wanted = " ".join(words[first : first + 2])
        context = " ".join(words)
        label = {"text": [wanted], "answer_start": [context.index(wanted)]} if number % 3 else NOWHERE.label
        rows.append(Row(ROW.text, label, "xx", text_pair=context))
        nulls.append(float(generator.normal(4 if number % 3 else 6, 2)))
    examples = TASK.encoder(tokenizer, Data(max_length=512), [])(rows)
    outputs = said(examples, nulls)
    margins = {}
    for number, (logits, example) in enumerate(zip(outputs, examples, strict=True)):
        longer = bool(number % 3 and generator.random() < 0.5)  # than what is wanted, and more likely
        logits[1 + example["labels"][1], 1] += 6.0 * longer
        margins[number] = nulls[number] - (5 if longer else 4 if number % 3 else 3.8)
    answers = dict(enumerate(TASK.decode(outputs, examples, rows, [], tokenizer)))
    golds = {number: row.label["text"] for number, row in enumerate(rows)}
    f1, exact, best = squad_2(answers, golds, margins)

    def figures(predictions: list[str]) -> dict[str, float]:
        metrics = TASK.metrics(predictions, rows, [])
        return {name: metric.figure(np.arange(len(rows))).value for name, metric in metrics.items()}

    always = figures(list(answers.values()))
    assert always["F1"] == pytest.approx(np.mean(list(f1.values())))
    assert always["exact match"] == pytest.approx(np.mean(list(exact.values())))
    assert always["NoAns F1"] == 0
    thresholds = TASK.thresholds(outputs, examples, rows)
    tuned = TASK.decode(outputs, examples, rows, [], tokenizer, thresholds)
    assert figures(tuned)["F1"] == pytest.approx(best)
    assert figures(tuned)["F1"] > always["F1"] > 0.4
    assert figures(tuned)["NoAns F1"] == np.mean([tuned[number] == "" for number in golds if not golds[number]])


def test_thresholds_and_the_share_of_no_answers_are_of_questions_that_lack_one():
    assert not TASK.needs_thresholds([ROW, replace(ROW, label="")])
    assert TASK.needs_thresholds([ROW, NOWHERE])
    assert set(TASK.metrics([ANSWER], [ROW], [])) == {"F1", "exact match"}
    other = replace(ROW, lang="en")
    assert set(TASK.metrics([ANSWER, ""], [other, NOWHERE], [])) == {"F1", "exact match"}  # none of English lacks one


def test_no_answer_is_an_answer_where_the_model_may_give_none():
    assert TASK.answered(ROW, "") is None
    assert TASK.answered(ROW, "", [1.0]) == replace(ROW, label=NOWHERE.label)
    assert TASK.answered(NOWHERE, ANSWER, [1.0]) == replace(NOWHERE, label=ROW.label)
