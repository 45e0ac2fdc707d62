"""The built-in data for other tasks: words with labels, and pairs of texts.

Made of the rows of `compress.data.cldr`, split by split: no named entry that stands in test stands in train.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator

from compress.data.builtin import cldr

RowMaker = Callable[[list[dict[str, str]], random.Random], Iterator[dict[str, object]]]
_TURNS = {"train": 2, "validation": 1, "test": 1}
"""How often each expression is used."""
_SEPARATORS = (",", ";", "/", "–", "+")


def generate_words(seed: int = 0) -> dict[str, list[dict[str, object]]]:
    """Several expressions in a row, each a span of its kind.

    :return: For each split a list of rows with ``tokens``, ``labels`` (B-, I- and O) and ``lang``.
    """
    return _generated(seed, _words)


def generate_pairs(seed: int = 0) -> dict[str, list[dict[str, object]]]:
    """An expression and the name of a kind: is it of that kind?

    :return: For each split a list of rows with ``text``, ``text_pair``, ``label`` (yes, no) and ``lang``.
    """
    return _generated(seed, _pairs)


def _generated(seed: int, make: RowMaker) -> dict[str, list[dict[str, object]]]:
    data: dict[str, list[dict[str, object]]] = {}
    for split, expressions in cldr.generate(seed).items():
        generator = random.Random(f"{seed}-tasks-{split}")
        by_language: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in expressions:
            by_language[row["lang"]].append(row)
        rows = [row for own in by_language.values() for _ in range(_TURNS[split]) for row in make(own, generator)]
        generator.shuffle(rows)
        data[split] = rows
    return data


def _words(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[dict[str, object]]:
    waiting = generator.sample(expressions, len(expressions))
    while waiting:
        chosen = [waiting.pop() for _ in range(min(len(waiting), generator.randrange(2, 5)))]
        tokens: list[str] = []
        labels: list[str] = []
        for row in chosen:
            if tokens:
                tokens.append(generator.choice(_SEPARATORS))
                labels.append("O")
            words = row["text"].split()
            tokens += words
            labels += [f"{'I' if place else 'B'}-{row['label']}" for place in range(len(words))]
        yield {"tokens": tokens, "labels": labels, "lang": chosen[0]["lang"]}


def _pairs(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[dict[str, object]]:
    for row in expressions:
        label = generator.choice(("yes", "no"))
        others = [kind for kind in cldr.KINDS if kind != row["label"]]
        kind = row["label"] if label == "yes" else generator.choice(others)
        yield {"text": row["text"], "text_pair": kind, "label": label, "lang": row["lang"]}
