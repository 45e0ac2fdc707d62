"""Examples in batches that memory holds: by length, so that little is padding, and by tokens, so that long rows fit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from compress.errors import CompressError

BATCH_TOKENS = 2**14
"""Tokens of a batch at most, padding included: 64 rows of 256 tokens."""

_PAIRS = 2**24  # of tokens of a row that attend to one another: 16 rows of 1,024 tokens, 1 row of 4,096
_OUTPUTS = 2**28  # numbers that a model gives for a batch: 1 GiB
# A run takes about as long as its tokens are many, padding included: on processors hardly less for rows side by side.
_PADDING = 0.1  # of the tokens that rows have
_CHEAP_PADDING = 16  # tokens, which take about as long as another run does before it reads any
# What PyTorch, ONNX Runtime, OpenVINO and C++ say, which share no class of exceptions.
_SHORT_OF_MEMORY = ("out of memory", "can't allocate memory", "failed to allocate", "bad alloc", "bad_alloc")

Found = TypeVar("Found")


def batches_by_length(
    examples: Sequence[Mapping[str, Any]],
    batch_size: int,
    outputs_per_token: int = 1,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[list[int]]:
    """Indices of examples in batches of similar length, the shortest first; padding adds hardly more than a tenth.

    :param batch_size: Examples of a batch at most; there are fewer where they are long.
    :param outputs_per_token: Numbers that are kept of each token while a batch runs, the vocabulary of a model that
        writes.
    :param batch_tokens: Tokens of a batch at most, padding included; one row may have more.
    """
    order = sorted(range(len(examples)), key=lambda index: len(examples[index]["input_ids"]))
    batch: list[int] = []
    longest = own = 0
    for index in order:
        tokens = _tokens(examples[index])
        longest, own, rows = max(longest, tokens), own + tokens, len(batch) + 1
        fits = rows * longest <= batch_tokens and _fits(rows, longest, outputs_per_token)
        if batch and (rows > batch_size or not fits or is_padding_dear(rows * longest, own)):
            yield batch
            batch, longest, own = [], tokens, tokens
        batch.append(index)
    if batch:
        yield batch


def run_batches(
    examples: Sequence[Mapping[str, Any]],
    batch_size: int,
    run: Callable[[list[int]], Found],
    outputs_per_token: int = 1,
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[tuple[list[int], Found]]:
    """Run all batches; one that memory is too short for is halved, until it fits.

    :param run: From the indices of a batch's examples to what is found for them.
    :return: The indices of each batch that was run, and what was found.
    :raises CompressError: If not even one example fits.
    """
    waiting = deque(batches_by_length(examples, batch_size, outputs_per_token, batch_tokens))
    while waiting:
        indices = waiting.popleft()
        try:
            found = run(indices)
        except Exception as error:
            if not is_short_of_memory(error):
                raise
            if len(indices) == 1:
                tokens = _tokens(examples[indices[0]])
                raise CompressError(
                    f"memory is too short for one row of {tokens:,} tokens; lower data.max_length, or free memory"
                ) from error
            half = len(indices) // 2
            waiting.extendleft((indices[half:], indices[:half]))
        else:
            yield indices, found


def joined_with_first(lengths: Sequence[int], largest: int) -> list[int]:
    """Which of the texts that wait to run with the first of them, so that hardly any token is padding.

    The first one never waits for others of its kind; those that are closest to it in length join it.

    :param lengths: Tokens of the texts, in the order in which they came.
    :param largest: Texts of a batch at most.
    :return: Their places, rising.
    """
    chosen, longest, own = [0], lengths[0], lengths[0]
    for place in sorted(range(1, len(lengths)), key=lambda place: (abs(lengths[place] - lengths[0]), place)):
        longest, own = max(longest, lengths[place]), own + lengths[place]
        if len(chosen) == largest or is_padding_dear((len(chosen) + 1) * longest, own):
            break
        chosen.append(place)
    return sorted(chosen)


def is_padding_dear(tokens: int, own: int) -> bool:
    """Whether so many tokens take longer side by side than in several runs.

    :param tokens: With padding.
    :param own: Those that the rows have.
    """
    return tokens - own > max(_CHEAP_PADDING, _PADDING * own)


def is_short_of_memory(error: Exception) -> bool:
    """Whether a library says that it did not get the memory it asked for."""
    said = f"{error} {error.__cause__ or ''}".lower()
    return isinstance(error, MemoryError) or any(words in said for words in _SHORT_OF_MEMORY)


def _tokens(example: Mapping[str, Any]) -> int:
    """Tokens that are read or written, whichever are more."""
    return max(len(example["input_ids"]), len(example.get("labels", ())))


def _fits(rows: int, tokens: int, outputs_per_token: int) -> bool:
    return rows * tokens**2 <= _PAIRS and rows * tokens * outputs_per_token <= _OUTPUTS
