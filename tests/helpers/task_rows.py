"""Small data sets for every task, made of the built-in expressions: dates, times, percentages, money."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from babel import Locale

from compress.data.builtin import cldr

RawRow = dict[str, object]
LANGUAGES = ("de", "en", "ja")
KINDS = ("date", "time", "percentage", "money")


def write(folder: Path, rows: Callable[[list[dict[str, str]], random.Random], Iterator[RawRow]], count: int) -> Path:
    """One file a split, with ``count`` rows in train and a quarter of that in the others."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = random.Random(0)
    for split, expressions in cldr.generate(0).items():
        kept = [row for row in expressions if row["lang"] in LANGUAGES and row["label"] in KINDS]
        wanted = count if split == "train" else count // 4
        made = [next(rows(kept, generator)) for _ in range(wanted)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    return folder


def pairs(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """Are two expressions of the same kind?"""
    one = generator.choice(expressions)
    other = generator.choice([row for row in expressions if row["lang"] == one["lang"]])
    label = "same" if one["label"] == other["label"] else "different"
    yield {"text": one["text"], "text_pair": other["text"], "label": label, "lang": one["lang"]}


def words(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """Expressions in a row; each is a span."""
    language = generator.choice(LANGUAGES)
    chosen = generator.sample([row for row in expressions if row["lang"] == language], 3)
    tokens, labels = [], []
    for row in chosen:
        parts = row["text"].split()
        tokens += [*parts, ","]
        labels += [f"B-{row['label']}", *[f"I-{row['label']}"] * (len(parts) - 1), "O"]
    yield {"tokens": tokens, "labels": labels, "lang": language}


def kinds(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """Which kinds of expressions are there, if any?"""
    language = generator.choice(LANGUAGES)
    own = [row for row in expressions if row["lang"] == language]
    chosen = generator.sample(own, generator.choice((0, 1, 1, 2)))
    text = " ; ".join(["x", *(row["text"] for row in chosen)])
    yield {"text": text, "labels": sorted({row["label"] for row in chosen}), "lang": language}


def lengths(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """How many expressions are there?"""
    language = generator.choice(LANGUAGES)
    chosen = generator.sample([row for row in expressions if row["lang"] == language], generator.choice((1, 2, 3)))
    rating = 50.0 * (len(chosen) - 1)  # from 0 to 100
    yield {"text": " ; ".join(row["text"] for row in chosen), "label": rating, "lang": language}


def questions(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """Which of the expressions is of this kind? Of some there is none."""
    language = generator.choice(LANGUAGES)
    own = [row for row in expressions if row["lang"] == language]
    chosen = [generator.choice([row for row in own if row["label"] == kind]) for kind in KINDS]
    generator.shuffle(chosen)
    context = " ; ".join(row["text"] for row in chosen)
    wanted = generator.choice(chosen)
    if generator.random() < 0.2:
        context = " ; ".join(row["text"] for row in chosen if row is not wanted)
        answers: RawRow = {"text": [], "answer_start": []}
        yield {"question": wanted["label"], "context": context, "answers": answers, "lang": language}
        return
    start = sum(len(row["text"]) + 3 for row in chosen[: chosen.index(wanted)])
    answers = {"text": [wanted["text"]], "answer_start": [start]}
    yield {"question": wanted["label"], "context": context, "answers": answers, "lang": language}


def translations(_: list[dict[str, str]], generator: random.Random) -> Iterator[RawRow]:
    """Some months and weekdays, in English and in another language."""
    target = generator.choice(("de", "fr"))
    keys = generator.sample([(table, key) for table in ("months", "days") for key in range(1, 7)], 3)
    source, wanted = (
        ", ".join(getattr(Locale(language), table)["format"]["wide"][key] for table, key in keys)
        for language in ("en", target)
    )
    yield {"source": source, "target": wanted, "source_lang": "en", "target_lang": target}
