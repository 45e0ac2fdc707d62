"""Outputs that nothing can be said by."""

import numpy as np
import pytest

from compress.errors import CompressError
from compress.runtimes.predict import check_outputs, predict_examples
from compress.tasks.registry import task_named


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_refused_and_others_are_not(wrong: float):
    outputs = [np.array([1e38, -2.0], np.float32), np.array([0.0, wrong], np.float32), np.array([7, 8])]
    check_outputs("teacher", [outputs[0], outputs[2]], "train it again")
    with pytest.raises(CompressError) as refused:
        check_outputs("teacher", outputs, "train it again")
    assert str(refused.value) == ("teacher: its outputs are infinite or not a number for 1 of 3 rows; train it again")


@pytest.mark.parametrize(("task", "asked"), [("embedding", 3), ("text-classification", 5)])
def test_vectors_of_the_same_text_are_asked_for_once_and_given_to_all(task: str, asked: int):
    texts = [[5, 6, 7], [8], [5, 6, 7], [9, 9], [8]]
    examples = [{"row": row, "labels": [0], "input_ids": text} for row, text in enumerate(texts)]
    read: list[int] = []
    told: list[int] = []

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        read.extend(inputs["input_ids"][:, 0].tolist())
        return inputs["input_ids"][:, :1].astype(np.float32)

    outputs = predict_examples(predict, task_named(task), examples, pad_id=0, batch_size=2, advance=told.append)
    assert np.concatenate(outputs).tolist() == [5, 8, 5, 9, 8]
    assert (len(read), sum(told)) == (asked, 5)
