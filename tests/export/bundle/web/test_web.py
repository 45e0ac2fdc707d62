"""What is packed for browsers, and what is refused; `make interop` asks the folder in a real one."""

from __future__ import annotations

import json
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel

from compress.errors import CompressError, UnavailableError
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.variants.registry import VARIANTS
from export.bundle.stage import Wanted
from export.bundle.web import stage
from export.bundle.web.libraries import LIBRARIES, check_node
from export.bundle.web.tokens import check_tokens, write_for_browsers


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither npm nor Node.js: the libraries are empty files, and JavaScript's tokens are those of Python."""

    def add(folder: Path) -> None:
        for library in LIBRARIES:
            for name in library.files:
                (folder / name).touch()

    def tokens(folder: Path, prefix: str, texts: list[str], max_length: int) -> list[list[int]]:
        read = [prefix + unicodedata.normalize("NFC", text).strip() for text in texts]
        return load_tokenizer(str(folder / "model"))(read, truncation=True, max_length=max_length)["input_ids"]

    monkeypatch.setattr(stage, "check_node", lambda: None)
    monkeypatch.setattr(stage, "add_libraries", add)
    monkeypatch.setattr(stage, "tokens_in_javascript", tokens)


@pytest.mark.usefixtures("offline")
def test_the_folder_has_the_layout_of_transformers_js_and_a_page(text_run: Run):
    summary = stage.run_web_stage(text_run, Wanted(accepted=("onnx", "onnx-int8")), None)
    web = text_run.folder / "web"
    assert {path.relative_to(web).as_posix() for path in web.rglob("*") if path.is_file()} == {
        "index.html",
        *(f"page/{name}" for name in ("model.js", "page.js", "page.css", "tokens.mjs", "pack.json")),
        *(f"page/libraries/{name}" for library in LIBRARIES for name in library.files),
        *(f"model/{name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")),
        *(f"model/onnx/{name}" for name in ("model.onnx", "model_quantized.onnx")),
    }
    pack = json.loads((web / "page/pack.json").read_text("utf-8"))
    assert [(variant["name"], variant["dtype"]) for variant in pack["variants"]] == [
        ("onnx", "fp32"),
        ("onnx-int8", "q8"),
    ]
    assert len({example["lang"] for example in pack["examples"]}) == len(pack["examples"]) > 1
    assert summary.bytes == sum(path.stat().st_size for path in web.rglob("*") if path.is_file())


@pytest.mark.usefixtures("offline")
def test_other_tokens_in_javascript_are_refused(text_run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stage, "tokens_in_javascript", lambda folder, prefix, texts, max_length: [[1]] * len(texts))
    with pytest.raises(CompressError, match=r"--web: transformers\.js splits \d+ of \d+ texts otherwise than Python"):
        stage.run_web_stage(text_run, Wanted(accepted=("onnx",)), None)


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.browser is None])
def test_a_variant_that_is_not_for_browsers_is_refused_by_name(text_run: Run, name: str):
    with pytest.raises(CompressError, match=f"--web: {name} is not for browsers; they run onnx, onnx-int8, onnx-int4"):
        stage.run_web_stage(text_run, Wanted(accepted=(name,)), None)


def test_pairs_of_texts_are_refused(text_run: Run):
    recipe = text_run.recipe
    fields = recipe.data.fields.model_copy(update={"text_pair": "other"})
    pairs = recipe.model_copy(update={"data": recipe.data.model_copy(update={"fields": fields})})
    with pytest.raises(
        CompressError, match="--web: packs classes of single texts, and not text-classification of pairs"
    ):
        stage._check_task(Run(text_run.folder, pairs))


def test_what_lacks_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "npm" else f"/usr/bin/{name}")
    with pytest.raises(UnavailableError, match="--web: needs npm, which is not installed"):
        check_node()


def test_an_older_node_is_refused_by_its_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(
        subprocess, "run", lambda command, **named: subprocess.CompletedProcess(command, 0, "v18.20.4\n", "")
    )
    with pytest.raises(UnavailableError, match=r"needs Node\.js 20 or later, and node --version says 'v18\.20\.4'"):
        check_node()


def test_words_are_written_out_and_split_the_same(tmp_path: Path):
    texts = [
        "Französisch-Guayana, 12:30",
        "Туркменистан, Венесуэла",
        "야쿠츠크 시간, e\u0301a_b²",
        "नमस्ते 1:25\u202fπ.μ.",
    ]
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]"))
    steps = [pre_tokenizers.Whitespace(), pre_tokenizers.Metaspace()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write_for_browsers(tmp_path / "tokenizer.json", tmp_path / "written.json")
    written = Tokenizer.from_file(str(tmp_path / "written.json"))
    assert "Whitespace" not in (tmp_path / "written.json").read_text("utf-8")
    for text in texts:
        assert written.pre_tokenizer.pre_tokenize_str(text) == tokenizer.pre_tokenizer.pre_tokenize_str(text)


def test_the_same_tokens_pass():
    check_tokens(["a", "b"], [[1], [2]], [[1], [2]])
