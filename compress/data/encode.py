"""Examples in batches: padding, sampling; numpy alone, so that measuring processes need nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_BATCHES_IN_A_BUCKET = 50
_INPUTS = ("input_ids", "token_type_ids", "prompt")


def pad(examples: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, np.ndarray]:
    """What the model reads of examples, padded to the longest of them.

    :return: int64 arrays of shape (examples, tokens): the inputs by name, and ``attention_mask``.
    """
    arrays = {
        name: padded([example[name] for example in examples], pad_id if name == "input_ids" else 0)
        for name in inputs_of(examples[0])
    }
    arrays["attention_mask"] = padded([[1] * len(example["input_ids"]) for example in examples], 0)
    return arrays


def inputs_of(example: Mapping[str, Any]) -> dict[str, list[int]]:
    """What the model reads of an example."""
    return {name: example[name] for name in _INPUTS if name in example}


def padded(lists: Sequence[Sequence[float]], filling: int) -> np.ndarray:
    """Lists side by side, int64 (lists, longest), filled up at their ends; float32 where they hold other numbers."""
    kind = np.float32 if any(isinstance(value, float) for value in lists[0]) else np.int64
    array = np.full((len(lists), max(map(len, lists))), filling, dtype=kind)
    for index, values in enumerate(lists):
        array[index, : len(values)] = values
    return array


class LengthBucketSampler:
    """Rows of one epoch in batches of similar length whose order is random.

    The library's sampler keeps the batches themselves sorted, so that rows that are alike in length, and with them
    often in label, come one after the other.

    :param lengths: Tokens of each row.
    :param batch_size: Rows of one step, over all processes.
    :param languages: Language of each row, where they are to be balanced.
    :param exponent: Languages are drawn with their number of rows to this power: 1 leaves every row once an epoch,
        0 draws all languages alike (Conneau et al., 2020).
    :param groups: The number of each row's group, where rows of one are to come one after the other: most batches have
        all rows of theirs then.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        languages: Sequence[str] | np.ndarray = (),
        exponent: float = 1.0,
        groups: np.ndarray | None = None,
    ):
        self._rows = len(lengths)
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._languages = np.asarray(languages)
        self._members: list[np.ndarray] = []
        if groups is not None:
            order = np.argsort(groups, kind="stable")
            self._members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
            self._lengths = np.array([self._lengths[rows].max() for rows in self._members])
            self._languages = (
                self._languages[[rows[0] for rows in self._members]] if len(languages) else self._languages
            )
        self._exponent = exponent
        self._epoch = 0
        self.on_epoch: Callable[[int], object] = lambda epoch: None

    def set_epoch(self, epoch: int) -> None:
        """Make the order depend on the epoch alone, so that a resumed training sees the same rows."""
        self._epoch = epoch
        self.on_epoch(epoch)

    def __len__(self) -> int:
        return -(-self._rows // self._batch_size) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self._seed, self._epoch))
        if self._members:
            batches = self._batches_of_groups(generator)
            for number in generator.permutation(len(batches)):
                yield from batches[number].tolist()
            return
        # A few rows come twice, so that all batches are full and can be divided among processes.
        order = np.resize(self._drawn(generator), len(self))
        bucket = self._batch_size * _BATCHES_IN_A_BUCKET
        batches = []
        for start in range(0, len(order), bucket):
            rows = order[start : start + bucket]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches += [rows[first : first + self._batch_size] for first in range(0, len(rows), self._batch_size)]
        for number in generator.permutation(len(batches)):
            yield from batches[number].tolist()

    def _batches_of_groups(self, generator: np.random.Generator) -> list[np.ndarray]:
        order = self._drawn(generator)
        bucket = max(1, self._batch_size * _BATCHES_IN_A_BUCKET * len(self._members) // self._rows)
        buckets = [order[start : start + bucket] for start in range(0, len(order), bucket)]
        ordered = [group for found in buckets for group in found[np.argsort(self._lengths[found], kind="stable")]]
        rows = np.resize(np.concatenate([self._members[group] for group in ordered]), len(self))
        return np.split(rows, len(self) // self._batch_size)

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


def spread_over_groups(
    languages: Sequence[str] | np.ndarray, groups: Sequence[Any] | np.ndarray, count: int, seed: int
) -> list[int]:
    """The same of whole groups: about ``count`` indices, those of a group one after the other.

    :param groups: What the rows of a group share, besides their language.
    """
    members: dict[tuple[str, Any], list[int]] = {}
    for index, key in enumerate(zip(languages, groups, strict=True)):
        members.setdefault(key, []).append(index)
    wanted = max(1, round(count * len(members) / len(languages)))
    every = list(members.values())
    chosen = spread_over_languages([language for language, _ in members], wanted, seed)
    return [index for group in chosen for index in every[group]]


def spread_over_languages_and_lengths(
    languages: Sequence[str] | np.ndarray, lengths: Sequence[int], count: int
) -> list[int]:
    """Indices of ``count`` rows (or all), drawn evenly over the languages and, within each, evenly over the lengths."""
    names, of_row = np.unique(np.asarray(languages), return_inverse=True)
    chosen: list[int] = []
    left = count
    # The smallest languages first: what they cannot give, the others do.
    for position, language in enumerate(sorted(range(len(names)), key=lambda index: (of_row == index).sum())):
        rows = np.flatnonzero(of_row == language)
        rows = rows[np.argsort(np.asarray(lengths)[rows], kind="stable")]
        share = min(len(rows), left // (len(names) - position))
        chosen += rows[np.round(np.linspace(0, len(rows) - 1, share)).astype(int)].tolist()
        left -= share
    return sorted(chosen)
