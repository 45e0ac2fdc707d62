import numpy as np
import pytest

from compress.data.stage import DataSet
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.file import load_recipe
from compress.recipe.student import RowChoice
from compress.student.rows import choose_rows
from compress.tasks.rows import Row
from compress.teacher.pool import build_pool

TRAIN = [
    Row("one", "a", "en", parallel="1"),
    Row("two", "b", "en", parallel="2"),
    Row("eins", "a", "de", parallel="1"),
    Row("drei", "b", "de", parallel="3"),
]
UNLABELLED = [Row("zwei", "", "de", parallel="2")]
DATA = DataSet({"train": RowTable.from_rows(TRAIN), "unlabelled": RowTable.from_rows(UNLABELLED)}, ["a", "b"])
# Sure of a; sure of b; sure of b (against the label); unsure; sure of b.
LOGITS = np.log(np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.45, 0.55], [0.1, 0.9]]))


def test_unlabelled_rows_are_learned_from_with_the_teacher_s_labels():
    pool = build_pool(DATA, load_recipe(None))
    chosen = choose_rows(pool, LOGITS, DATA, RowChoice(), None)
    assert [row.text for row in pool.rows] == ["one", "two", "eins", "drei", "zwei"]
    assert chosen.targets.tolist() == [0, 1, 0, 1, 1]
    assert chosen.counts.labelled_by_teacher == 1
    assert chosen.counts.not_shared_by_teacher == 1


def test_rows_are_dropped_where_the_teacher_is_unsure_or_disagrees():
    pool = build_pool(DATA, load_recipe(None))
    chosen = choose_rows(pool, LOGITS, DATA, RowChoice(minimum_confidence=0.6, drop_disagreement=True), None)
    assert chosen.indices.tolist() == [0, 1, 4]
    assert (chosen.counts.dropped_as_unsure, chosen.counts.dropped_as_disagreeing) == (1, 1)
    assert chosen.counts.kept == 3


def test_rows_count_as_much_as_the_teacher_is_sure():
    pool = build_pool(DATA, load_recipe(None))
    weights = choose_rows(pool, LOGITS, DATA, RowChoice(weight_by_confidence=True), None).weights
    assert weights.mean() == pytest.approx(1.0)
    assert weights[3] / weights[0] == pytest.approx(0.55 / 0.9)


def test_labels_of_zero_shot_languages_are_not_used():
    pool = build_pool(DATA, load_recipe(None))
    chosen = choose_rows(pool, LOGITS, DATA, RowChoice(drop_disagreement=True), ["en"])
    assert chosen.targets.tolist() == [0, 1, 1, 1, 1]  # "eins" takes the teacher's label, not its own
    assert chosen.counts.labelled_by_teacher == 3


def test_the_teacher_reads_the_parallel_sentence():
    pool = build_pool(DATA, load_recipe(None, {"student.distillation.pivot": "en"}))
    assert [row.text for row in pool.teacher_rows] == ["one", "two"]
    read = {row.text: pool.teacher_rows[int(index)].text for row, index in zip(pool.rows, pool.reads, strict=True)}
    assert read == {"one": "one", "two": "two", "eins": "one", "zwei": "two"}
    assert pool.without_parallel == 1


def test_rows_that_are_not_parallel_are_said():
    data = DataSet({"train": RowTable.from_rows([Row("one", "a", "en")])}, ["a", "b"])
    with pytest.raises(CompressError, match=r"no row has a parallel sentence in 'en'; name the field"):
        build_pool(data, load_recipe(None, {"student.distillation.pivot": "en"}))


def test_the_student_s_languages_can_be_chosen():
    assert {row.lang for row in build_pool(DATA, load_recipe(None, {"student.languages": ["de"]})).rows} == {"de"}
    with pytest.raises(CompressError, match=r"student.languages: no training rows in fr"):
        build_pool(DATA, load_recipe(None, {"student.languages": ["fr"]}))


def test_too_high_a_threshold_is_said():
    with pytest.raises(CompressError, match=r"no row is left .* lower minimum_confidence"):
        choose_rows(build_pool(DATA, load_recipe(None)), LOGITS, DATA, RowChoice(minimum_confidence=0.99), None)
