"""A table of embeddings in 4 bits: each value is one of sixteen, times a scale of its token and one of its column.

The sixteen are the values that the table's own are nearest to (Lloyd, "Least squares quantization in PCM", 1982).
Columns have a scale because those of a table that was narrowed along its leading directions differ much.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_LEVELS, _SAMPLED, _BLOCK = 16, 200_000, 4096
PAIRS = _LEVELS**2
"""What one byte can be: two values."""


class FourBits(NamedTuple):
    """``packed`` uint8 (tokens, width / 2), two values a byte; ``pairs`` float32 (256, 2), what a byte stands for;
    ``tokens`` float32 (tokens, 1) and ``columns`` float32 (width), what these are multiplied with."""

    packed: np.ndarray
    pairs: np.ndarray
    tokens: np.ndarray
    columns: np.ndarray


def in_four_bits(table: np.ndarray) -> FourBits:
    """A table, float32 (tokens, width), whose width is even."""
    columns = _length(table, axis=0)
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(table), _BLOCK)]
    tokens = np.concatenate([_length(_shares(table[block], columns), axis=1)[:, None] for block in blocks])
    levels = _levels(table, tokens, columns)
    between = (levels[1:] + levels[:-1]) / 2
    packed = np.empty((len(table), table.shape[1] // 2), np.uint8)
    for block in blocks:
        numbers = np.searchsorted(between, _shares(table[block], tokens[block] * columns))
        packed[block] = numbers[:, ::2] * _LEVELS + numbers[:, 1::2]
    pairs = np.stack(np.meshgrid(levels, levels, indexing="ij"), axis=-1).reshape(PAIRS, 2)
    return FourBits(packed, pairs, tokens, columns)


def _length(table: np.ndarray, axis: int) -> np.ndarray:
    """Root of the mean square."""
    return np.asarray(np.sqrt(np.mean(np.square(table), axis=axis)))


def _shares(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Values by their scales; zero where that is zero."""
    found: np.ndarray = np.divide(values, scales, out=np.zeros_like(values), where=scales != 0)
    return found


def _levels(table: np.ndarray, tokens: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The sixteen values, float32 and ascending, that a sample of a scaled table is nearest to."""
    from scipy.cluster.vq import kmeans

    drawn = np.random.default_rng(0)
    rows, places = (drawn.integers(size, size=_SAMPLED) for size in table.shape)
    sample = _shares(table[rows, places], tokens[rows, 0] * columns[places])
    first = np.quantile(sample, (np.arange(_LEVELS) + 0.5) / _LEVELS)
    found, _ = kmeans(sample, first)
    levels = np.sort(found).astype(np.float32)
    return np.pad(levels, (0, _LEVELS - len(levels)), mode="edge")  # a table of few values has fewer
