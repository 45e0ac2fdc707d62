"""Batches that memory holds, and those that it does not."""

import numpy as np
import pytest

from compress.data.batches import batches_by_length, is_short_of_memory, run_batches
from compress.errors import CompressError
from compress.runtimes.predict import predict_examples
from compress.tasks.registry import task_named


def rows_of(*lengths: int) -> list[dict]:
    return [{"input_ids": [1 + row] * length, "labels": [0]} for row, length in enumerate(lengths)]


def test_batches_hold_rows_of_similar_length():
    assert list(batches_by_length(rows_of(9, 1, 8, 2), 2)) == [[1, 3], [2, 0]]
    assert list(batches_by_length([], 2)) == []


@pytest.mark.parametrize(("length", "rows"), [(64, 64), (256, 64), (512, 32), (1024, 16), (2048, 4), (8192, 1)])
def test_the_longer_rows_are_the_fewer_run_at_once(length: int, rows: int):
    assert len(next(batches_by_length(rows_of(*[length] * 65), 64))) == rows


def test_one_long_row_leaves_short_ones_together():
    batches = list(batches_by_length(rows_of(8192, *[10] * 40), 64))
    assert [len(batch) for batch in batches] == [40, 1]
    assert batches[1] == [0]


def test_what_is_written_counts_too():
    translations = [{"input_ids": [1] * 4, "labels": [1] * 512} for _ in range(64)]
    assert {len(batch) for batch in batches_by_length(translations, 64)} == {32}
    # Logits of 250,000 tokens at 32 places: 32 MB a row.
    short = [{"input_ids": [1] * 32, "labels": [1] * 32} for _ in range(64)]
    assert max(len(batch) for batch in batches_by_length(short, 64, outputs_per_token=250_000)) == 33


class Short:
    """A model on a machine whose memory holds so many tokens of a batch."""

    def __init__(self, tokens: int, error: Exception):
        self.tokens, self.error = tokens, error
        self.batches: list[int] = []

    def __call__(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        if inputs["input_ids"].size > self.tokens:
            raise self.error
        self.batches.append(len(inputs["input_ids"]))
        return inputs["input_ids"][:, :1].astype(np.float32)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 8"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_a_batch_that_memory_is_too_short_for_is_halved_and_rows_keep_their_order(error: Exception):
    examples, model = rows_of(5, 3, 4, 2, 5, 1), Short(10, error)
    outputs = predict_examples(model, task_named("text-classification"), examples, pad_id=0)
    assert np.concatenate(outputs).tolist() == [1, 2, 3, 4, 5, 6]
    assert model.batches == [3, 1, 2]


def test_a_row_that_does_not_fit_alone_is_refused():
    wanted = r"^memory is too short for one row of 30 tokens; lower data.max_length, or free memory$"
    with pytest.raises(CompressError, match=wanted):
        predict_examples(Short(10, MemoryError()), task_named("text-classification"), rows_of(3, 30), pad_id=0)


def test_other_faults_are_not_taken_for_a_lack_of_memory():
    assert not is_short_of_memory(ValueError("Invalid argument"))
    with pytest.raises(ZeroDivisionError):
        list(run_batches(rows_of(3), 8, lambda indices: 1 // 0))


def test_texts_of_different_lengths_are_not_padded_to_the_longest():
    batches = list(batches_by_length(rows_of(500, 10, 480, 12, 100, 11), 64))
    assert batches == [[1, 5, 3], [4], [2, 0]]


def test_many_rows_of_similar_length_stay_together_though_each_is_padded_a_little():
    lengths = [100 + number // 8 for number in range(64)]
    assert [len(batch) for batch in batches_by_length(rows_of(*lengths), 64)] == [64]


def test_a_batch_has_no_more_tokens_than_it_may():
    assert list(batches_by_length(rows_of(*[100] * 5, 250), 64, batch_tokens=200)) == [[0, 1], [2, 3], [4], [5]]
