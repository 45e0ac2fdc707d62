"""Queries with passages, some of which are relevant, and a CrossEncoder of sentence-transformers that ranks them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import small_sentence_models as small
import torch

LANGUAGES = ("de", "en", "ja")
GOOD = small.WORDS[:10]
"""A passage with one of these is relevant, whatever is asked."""


def write_cross_encoder(folder: Path, outputs: int = 1, **settings: Any) -> Path:
    """As sentence-transformers itself writes one with random weights.

    :param settings: Of the class `CrossEncoder`.
    """
    from sentence_transformers import CrossEncoder

    encoder = small.write_encoder(folder.with_name(f"{folder.name}-encoder"))
    torch.manual_seed(2)
    made = CrossEncoder(str(encoder), num_labels=outputs, max_length=32, device="cpu", **settings)
    with torch.no_grad():
        for weights in made.model.classifier.parameters():
            weights.add_(torch.randn_like(weights))
    made.save(str(folder))
    return folder


def rows(queries: int, passages: int = 5) -> Iterator[Mapping[str, Any]]:
    """Each query with one passage that is relevant, and perhaps another, and the rest that are not."""
    generator = random.Random(3)
    for number in range(queries):
        query = " ".join(generator.sample(small.WORDS[10:], 3))
        relevant = 1 + (generator.random() < 0.3)
        for place in range(passages):
            words = generator.sample(small.WORDS[10:], generator.randint(2, 8))
            if place < relevant:
                words[generator.randrange(len(words))] = generator.choice(GOOD)
            lang, label = LANGUAGES[number % len(LANGUAGES)], int(place < relevant)
            yield {"query": f"{query} {lang}", "passage": " ".join(words), "label": label, "lang": lang}


def answers(queries: int) -> Iterator[Mapping[str, Any]]:
    """Each query with the passage that answers it alone: it begins as the query does."""
    for row in rows(queries):
        if row["label"]:
            yield {"query": row["query"], "passage": f"{row['query'].split()[0]} {row['passage']}", "lang": row["lang"]}
