"""Vectors as an index keeps them: in fewer bits, or cut. What comes back is compared as vectors are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StoredForm:
    """How a vector is kept: ``bits`` of a number, of so many of its first ``numbers``."""

    name: str
    bits: int
    numbers: int

    @property
    def bytes(self) -> int:
        """Of a vector."""
        return -(-self.bits * self.numbers // 8)


def stored_forms(numbers: int, cut: Sequence[int] = ()) -> list[StoredForm]:
    """int8, one bit a number, and the first numbers alone.

    :param numbers: Of a whole vector.
    :param cut: How many are the first.
    """
    parts = [StoredForm(f"first {count}", 32, count) for count in cut if count < numbers]
    return [StoredForm("int8", 8, numbers), StoredForm("binary", 1, numbers), *parts]


def kept(vectors: np.ndarray, form: StoredForm) -> np.ndarray:
    """What is left of vectors, float32 (rows, numbers): int8 in steps of a vector's largest number over 127; of one bit
    the sign, times the mean size; what is cut off is zero, so that products are those of the rest.

    :param vectors: Float (rows, numbers).
    """
    if form.bits == 8:
        steps = np.maximum(np.abs(vectors).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
        return np.asarray((vectors / steps).round() * steps, dtype=np.float32)
    if form.bits == 1:
        size = np.abs(vectors).mean(axis=1, keepdims=True)
        return np.asarray(np.where(vectors < 0, -size, size), dtype=np.float32)
    return np.asarray(np.where(np.arange(vectors.shape[1]) < form.numbers, vectors, 0), dtype=np.float32)
