"""Tokens in JavaScript, of every kind of tokenizer that multilingual models have, are those of Python; and where they
stand in a text."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest
import small_vocabularies

from compress.models.load import load_tokenizer
from compress.serving.format import Description
from compress.tasks.registry import TaskName, task_named
from compress.tasks.rows import Row
from export.bundle.web.libraries import add_libraries
from export.bundle.web.stage import PAGE
from export.bundle.web.summary import WebPack
from export.bundle.web.tokens import (
    check_tokens,
    questions_about,
    read_in_python,
    told_in_javascript,
    write_for_browsers,
)
from export.bundle.web.ways import ways_of

FAMILIES = ("WordPiece", "byte-level", "byte fallback", "XLM-R", "mT5")
TASKS: tuple[TaskName, ...] = ("text-classification", "token-classification", "question-answering")
ODD = (
    "two   spaces\tand a tab",
    "Ünïcödé Straße ﬁne ½ x² ①",
    "日本語の テキスト、。",
    "नमस्ते क्\u200dष दुनिया",
    "مرحبا بالعالم ١٢٣",
    "emoji 😀👍🏽 end",
    "☃☂ unknown ͞x",
    "a\u200bb\u00adc می\u200cخواهم",
    "İstanbul",
    "ＡＢＣ\u3000ｘ",
    "q\u0301 z\u0323\u0301",
    "﷽ x",
    "~～x",
)
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("node", "npm")), reason="needs Node.js and npm"
)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    add_libraries(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_and_places_are_those_of_python(family: str, libraries: Path, tmp_path: Path):
    (tmp_path / "files").mkdir()
    small_vocabularies.FAMILIES[family].tokenizer(tmp_path / "files").save_pretrained(tmp_path / "python")
    (tmp_path / "model").mkdir()
    write_for_browsers(tmp_path / "python", tmp_path / "model")
    shutil.copytree(PAGE, tmp_path / "page")
    (tmp_path / "page/libraries").symlink_to(libraries)
    tokenizer = load_tokenizer(str(tmp_path / "python"))
    common = [text for rows in small_vocabularies.texts().values() for text in rows[:8]]
    texts = [unicodedata.normalize("NFC", text) for text in [*common, *ODD]]
    for name in TASKS:
        task, labels, words = task_named(name), ["a", "b"], name == "token-classification"
        model = Description(
            name="x", task=name, labels=labels, runtime="ONNX Runtime", target="any", pairs=not words, max_length=24
        )
        rows = [
            Row(text.split() if words else text, "", "", None if words else f"{texts[number * 7 % len(texts)]} {text}")
            for number, text in enumerate(texts)
        ]
        ways = ways_of(task, tokenizer, model, [])
        questions, encode = questions_about(task, rows, ways), task.encoder(tokenizer, model, labels)
        pack = WebPack(name="x", model=model, ways=ways, variants=[], examples=[])
        told = told_in_javascript(tmp_path, pack, questions)
        check_tokens(questions, [read_in_python(encode, row) for row in rows], told.read)
