"""Passages of other rows: which, and in how much memory."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from compress.data.negatives import with_negatives
from compress.recipe.data import Negatives
from compress.tasks.rows import Row

WORDS = ["river", "train", "bread", "stone"]
ROWS = [Row(f"{word} {number}", "", "en", text_pair=f"{word} story {number}") for number in range(6) for word in WORDS]


def negatives_of(rows: list[Row]) -> dict[str, set[str]]:
    made = with_negatives(rows, Negatives(per_query=5, by="words"), 0)
    return {row.text: {str(own.text_pair) for own in made if own.text == row.text and not own.label} for row in rows}


def test_those_that_share_words_are_found_however_few_are_compared_at_once(monkeypatch: pytest.MonkeyPatch):
    found = negatives_of(ROWS)
    assert all(passage.split()[0] == query.split()[0] for query, passages in found.items() for passage in passages)
    held: list[np.ndarray] = []
    monkeypatch.setattr("compress.data.negatives._BLOCK", 2 * len(ROWS) + 1)
    monkeypatch.setattr(csr_matrix, "toarray", noting(csr_matrix.toarray, held))
    assert negatives_of(ROWS) == found
    assert {len(block) for block in held} == {2}


def noting(toarray: Callable[..., np.ndarray], held: list[np.ndarray]) -> Callable[..., np.ndarray]:
    def noted(*arguments: object, **options: object) -> np.ndarray:
        held.append(toarray(*arguments, **options))
        return held[-1]

    return noted
