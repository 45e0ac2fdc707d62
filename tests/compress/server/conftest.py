"""Bundles that are served, made once: a classifier of single texts, and a model that gives vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import served
import small_sentence_models
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

LIMITS = ("--max-texts", "50", "--max-characters", "200", "--max-request-bytes", "20000")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a classifier with random weights."""
    root = tmp_path_factory.mktemp("classifier")
    encoder = small_sentence_models.write_encoder(root / "encoder")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(encoder, id2label={0: "no", 1: "perhaps", 2: "yes"})
    with torch.no_grad():
        model.classifier.weight.add_(torch.randn_like(model.classifier.weight))
    model.save_pretrained(root / "model")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(root / "model")
    rows = small_sentence_models.write_rows(root / "rows.jsonl", small_sentence_models.texts(60))
    return served.packed(root, root / "model", rows)


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a model that gives vectors, with prompts."""
    root = tmp_path_factory.mktemp("embedder")
    model = small_sentence_models.write_sentence_model(root / "model", prompts=small_sentence_models.PROMPTS)
    rows = small_sentence_models.write_rows(root / "rows.jsonl", small_sentence_models.pairs(60))
    return served.packed(root, model, rows, "--set", "data.fields.text_pair=text_pair")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], served.Served]]:
    """Gives the server of a bundle, one for the tests of a module."""
    with ExitStack() as stack:
        servers: dict[Path, served.Served] = {}

        def server_of(bundle: Path) -> served.Served:
            if bundle not in servers:
                folder = tmp_path_factory.mktemp("server")
                servers[bundle] = stack.enter_context(served.served(folder, bundle, *LIMITS))
            return servers[bundle]

        yield server_of


@pytest.fixture
def labels(serving: Callable[[Path], served.Served], classifier: Path) -> served.Served:
    """The server of the classifier."""
    return serving(classifier)


@pytest.fixture
def vectors(serving: Callable[[Path], served.Served], embedder: Path) -> served.Served:
    """The server of the model that gives vectors."""
    return serving(embedder)
