"""Vectors in fewer numbers: as many as the student has learnt, as long again as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compress.server.embeddings import VectorsQuestion, embeddings_response
from compress.server.limits import RefusedError
from compress.serving.client import TextRead
from compress.serving.format import Description
from compress.tasks.rows import Row

VECTORS = np.array([[0.6, 0, 0.8, 0], [0, 3, 4, 12]], dtype=np.float32)
READ = [TextRead(Row(text="a", label="", lang=""), [{"input_ids": [1, 5, 2]}])] * 2


def vectors_in(dimensions: int | None, similarity: Any) -> np.ndarray:
    described = Description(
        name="m", task="embedding", labels=[], runtime="ONNX Runtime", target="any", pairs=False, max_length=8,
        similarity=similarity, dimensions=[3, 2, 64],
    )  # fmt: skip
    told = embeddings_response(VectorsQuestion(["a", "b"], None, dimensions, False), described, READ, VECTORS)
    assert told["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    return np.array([one["embedding"] for one in told["data"]])


def test_what_cosines_compare_is_as_long_as_before():
    assert vectors_in(None, "cosine") == pytest.approx(VECTORS)
    assert vectors_in(2, "cosine") == pytest.approx(np.array([[1, 0], [0, 13]]))
    assert vectors_in(3, "cosine") == pytest.approx(np.array([[0.6, 0, 0.8], [0, 7.8, 10.4]]))


def test_what_products_compare_is_cut():
    assert vectors_in(2, "dot") == pytest.approx(VECTORS[:, :2])


@pytest.mark.parametrize("dimensions", [1, 0, -2, 64])
def test_other_numbers_are_refused_and_those_that_there_are_named(dimensions: int):
    with pytest.raises(RefusedError, match=f"dimensions {dimensions}: m gives 2, 3, 4"):
        vectors_in(dimensions, "cosine")
