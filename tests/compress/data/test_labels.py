import re

import pytest

from compress.data.labels import in_teachers_order, ordered_labels
from compress.errors import CompressError


def test_numbers_are_ordered_by_their_size_and_names_by_the_alphabet():
    assert ordered_labels({"0", "1", "10", "11", "2"}) == ["0", "1", "2", "10", "11"]
    assert ordered_labels({"b", "10", "2"}) == ["10", "2", "b"]


@pytest.mark.parametrize(
    ("own", "labels", "named", "wanted"),
    [
        (["b", "a"], ["a", "b"], {}, ["b", "a"]),
        (["NEGATIVE", "POSITIVE"], ["negative", "positive"], {}, ["negative", "positive"]),
        ([f"LABEL_{n}" for n in range(12)], ["1", "2", "10"], {}, None),
        (["neg", "neutral", "pos"], ["neg", "pos"], {}, ["neg", "neutral", "pos"]),
        (["LABEL_0", "LABEL_1"], ["bad", "good"], {"good": "LABEL_0", "bad": "LABEL_1"}, ["good", "bad"]),
        (["a", "b"], ["a", "b"], {"a": "b", "b": "a"}, ["b", "a"]),
    ],
)
def test_labels_are_the_teachers_by_the_datas_names(own, labels, named, wanted):
    if wanted is None:
        wanted = ["LABEL_0", "1", "2", *[f"LABEL_{n}" for n in range(3, 10)], "10", "LABEL_11"]
    assert in_teachers_order(own, labels, named, "teacher") == wanted


@pytest.mark.parametrize(
    ("own", "labels", "named", "message"),
    [
        (
            ["LABEL_0", "LABEL_1"],
            ["bad", "good"],
            {},
            "teacher has no label 'bad', but LABEL_0, LABEL_1; say what it calls the data's in data.label_names "
            "({bad: LABEL_0, …}), or have `compress distill` train it for them",
        ),
        (["a", "b"], ["a", "b", "c"], {}, "teacher has no label 'c'"),
        (["negative", "positive"], ["0", "1"], {}, "teacher has no label '0'"),
        (["a", "b"], ["a", "x"], {"x": "y"}, "teacher has no label 'y'"),
        (["a", "b"], ["a", "b"], {"z": "a"}, "data.label_names: no row has the label 'z'; the data has a, b"),
        (["a", "b"], ["a", "x"], {"x": "a"}, "data.label_names: 'a' must be one label of teacher (a, b)"),
        (["a", "b"], ["a"], {"a": "b"}, "data.label_names: 'a' must be one label of teacher (a, b)"),
    ],
)
def test_labels_that_the_teacher_may_mean_otherwise_are_refused(own, labels, named, message):
    with pytest.raises(CompressError, match=re.escape(message)):
        in_teachers_order(own, labels, named, "teacher")
