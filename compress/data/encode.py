"""Tokenised rows and the padding of batches; numpy alone, so that measuring processes need nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.data.clean import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCHES_IN_A_BUCKET = 50

Encoded = dict[str, list[int]]
"""One row's ``input_ids`` and, for tokenizers that use them, ``token_type_ids``."""


def encode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int) -> list[Encoded]:
    """Tokenise rows without padding, cut at ``max_length`` tokens."""
    pairs = [row.text_pair for row in rows]
    output = tokenizer(
        [row.text for row in rows],
        None if all(pair is None for pair in pairs) else pairs,
        truncation=True,
        max_length=max_length,
        return_attention_mask=False,
    )
    return [{name: output[name][index] for name in output} for index in range(len(rows))]


def pad(batch: Sequence[Encoded], pad_id: int) -> dict[str, np.ndarray]:
    """Pad rows to the longest of the batch.

    :return: int64 arrays of shape (rows, tokens): the inputs by name, and ``attention_mask``.
    """
    lengths = [len(row["input_ids"]) for row in batch]
    shape = (len(batch), max(lengths))
    arrays = {name: np.full(shape, pad_id if name == "input_ids" else 0, dtype=np.int64) for name in batch[0]}
    arrays["attention_mask"] = np.zeros(shape, dtype=np.int64)
    for index, (row, length) in enumerate(zip(batch, lengths, strict=True)):
        for name, values in row.items():
            arrays[name][index, :length] = values
        arrays["attention_mask"][index, :length] = 1
    return arrays


def batches_by_length(encoded: Sequence[Encoded], batch_size: int) -> Iterator[list[int]]:
    """Indices of rows in batches of similar length, so that little is padding."""
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]["input_ids"]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class LengthBucketSampler:
    """Rows of one epoch in batches of similar length whose order is random.

    The library's sampler keeps the batches themselves sorted, so that rows that are alike in length, and with them
    often in label, come one after the other.

    :param lengths: Tokens of each row.
    :param batch_size: Rows of one step, over all processes.
    :param languages: Language of each row, where they are to be balanced.
    :param exponent: Languages are drawn with their number of rows to this power: 1 leaves every row once an epoch,
        0 draws all languages alike (Conneau et al., 2020).
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        languages: Sequence[str] | np.ndarray = (),
        exponent: float = 1.0,
    ):
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._languages = np.asarray(languages)
        self._exponent = exponent
        self._epoch = 0
        self.on_epoch: Callable[[int], object] = lambda epoch: None

    def set_epoch(self, epoch: int) -> None:
        """Make the order depend on the epoch alone, so that a resumed training sees the same rows."""
        self._epoch = epoch
        self.on_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self._seed, self._epoch))
        # A few rows come twice, so that all batches are full and can be divided among processes.
        order = np.resize(self._drawn(generator), len(self))
        bucket = self._batch_size * _BATCHES_IN_A_BUCKET
        batches: list[np.ndarray] = []
        for start in range(0, len(order), bucket):
            rows = order[start : start + bucket]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches += [rows[first : first + self._batch_size] for first in range(0, len(rows), self._batch_size)]
        for number in generator.permutation(len(batches)):
            yield from batches[number].tolist()

    def _drawn(self, generator: np.random.Generator) -> np.ndarray:
        if self._exponent == 1 or not len(self._languages):
            return generator.permutation(len(self._lengths))
        groups = [np.flatnonzero(self._languages == language) for language in np.unique(self._languages)]
        shares = np.array([len(group) for group in groups]) ** self._exponent
        counts = np.floor(np.cumsum(shares / shares.sum()) * len(self._lengths) + 0.5).astype(int)
        drawn = [
            np.concatenate([generator.permutation(group) for _ in range(-(-count // len(group)))])[:count]
            for group, count in zip(groups, np.diff(counts, prepend=0), strict=True)
            if count
        ]
        return generator.permutation(np.concatenate(drawn))


def spread_over_languages(languages: Sequence[str] | np.ndarray, count: int, seed: int) -> list[int]:
    """Indices of ``count`` rows (or all), drawn evenly over their languages, in random order."""
    generator = np.random.default_rng(seed)
    turns: list[tuple[int, float, int]] = []
    seen: dict[str, int] = {}
    for index in generator.permutation(len(languages)):
        turn = seen.get(languages[index], 0)
        seen[languages[index]] = turn + 1
        turns.append((turn, generator.random(), int(index)))
    chosen = [index for _, _, index in sorted(turns)[:count]]
    return [chosen[position] for position in generator.permutation(len(chosen))]
