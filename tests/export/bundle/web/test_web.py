"""What is packed for browsers, and what is refused; `make interop` asks the folder in a real one."""

from __future__ import annotations

import json
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from compress.data.stage import load_data
from compress.errors import CompressError, UnavailableError
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.serving.format import Description
from compress.tasks import embedding, reranking, text_classification
from compress.tasks.rows import Row
from compress.variants.registry import VARIANTS
from export.bundle.stage import Wanted
from export.bundle.web import stage
from export.bundle.web.libraries import LIBRARIES, check_node
from export.bundle.web.stage import PAGE
from export.bundle.web.summary import SpecialToken, WebPack
from export.bundle.web.tokens import (
    WebQuestion,
    WebRead,
    WebReading,
    WebTold,
    check_texts,
    check_tokens,
    read_in_python,
    write_for_browsers,
)
from export.bundle.web.ways import way_of, ways_of

_EMPTY_CHARSMAP = (1024).to_bytes(4, "little") + bytes(1025)
"""That of a ``Precompiled`` step which changes nothing."""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither npm nor Node.js: the libraries are empty files, and JavaScript's tokens are those of Python."""

    def add(folder: Path) -> None:
        for library in LIBRARIES:
            for name in library.files:
                (folder / name).touch()

    def told(folder: Path, pack: WebPack, questions: list[WebQuestion], written: list[list[int]]) -> WebTold:
        encode = text_classification.encoder(load_tokenizer(str(folder / "model")), pack.model, pack.model.labels)
        texts = [unicodedata.normalize("NFC", question.text).strip() for question in questions]
        return WebTold(read=[read_in_python(encode, Row(text, "", "")) for text in texts], texts=[])

    monkeypatch.setattr(stage, "check_node", lambda: None)
    monkeypatch.setattr(stage, "add_libraries", add)
    monkeypatch.setattr(stage, "told_in_javascript", told)


@pytest.mark.usefixtures("offline")
def test_the_folder_has_the_layout_of_transformers_js_and_a_page(text_run: Run):
    summary = stage.run_web_stage(text_run, Wanted(accepted=("onnx", "onnx-int8")), None)
    web = text_run.folder / "web"
    assert {path.relative_to(web).as_posix() for path in web.rglob("*") if path.is_file()} == {
        "index.html",
        *(
            f"page/{name}"
            for name in (*(path.name for path in PAGE.iterdir() if path.name != "index.html"), "pack.json")
        ),
        *(f"page/libraries/{name}" for library in LIBRARIES for name in library.files),
        *(f"model/{name}" for name in ("config.json", "tokenizer.json", "tokenizer_config.json")),
        *(f"model/onnx/{name}" for name in ("model.onnx", "model_quantized.onnx")),
    }
    pack = json.loads((web / "page/pack.json").read_text("utf-8"))
    assert [(variant["name"], variant["dtype"]) for variant in pack["variants"]] == [
        ("onnx", "fp32"),
        ("onnx-int8", "q8"),
    ]
    assert pack["model"]["task"] == "text-classification"
    assert pack["model"]["labels"] == load_data(text_run).labels
    assert len({example["lang"] for example in pack["examples"]}) == len(pack["examples"]) > 1
    assert summary.bytes == sum(path.stat().st_size for path in web.rglob("*") if path.is_file())


@pytest.mark.usefixtures("offline")
def test_other_tokens_in_javascript_are_refused(text_run: Run, monkeypatch: pytest.MonkeyPatch):
    other = WebRead(examples=[WebReading(ids=[1], types=[0])])
    monkeypatch.setattr(
        stage, "told_in_javascript", lambda _, pack, asked, written: WebTold(read=[other] * len(asked), texts=[])
    )
    with pytest.raises(CompressError, match=r"--web: transformers\.js splits \d+ of \d+ texts otherwise than Python"):
        stage.run_web_stage(text_run, Wanted(accepted=("onnx",)), None)


@pytest.mark.parametrize("name", [name for name, variant in VARIANTS.items() if variant.browser is None])
def test_a_variant_that_is_not_for_browsers_is_refused_by_name(text_run: Run, name: str):
    able = "onnx, onnx-int8, onnx-fp16, onnx-int4"
    with pytest.raises(CompressError, match=f"--web: {name} is not for browsers; they run {able}"):
        stage.run_web_stage(text_run, Wanted(accepted=(name,)), None)


def test_what_stands_around_texts_is_told_with_its_types():
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, "[UNK]"))
    around = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
    tokenizer.post_processor = TemplateProcessing(**around, special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=["input_ids", "token_type_ids"])
    model = Description(
        name="x", task="reranking", labels=[], runtime="ONNX Runtime", target="any", pairs=True, max_length=8
    )
    (way,) = ways_of(reranking, fast, model, [])
    cls, sep, last = (SpecialToken(id=number, type=kind) for number, kind in ((1, 0), (2, 0), (2, 1)))
    assert (way.before, way.between, way.after, way.first_type, way.second_type) == ([cls], [sep], [last], 0, 1)
    (way,) = ways_of(text_classification, fast, model.model_copy(update={"pairs": False}), [])
    assert (way.before, way.between, way.after) == ([cls], [], [sep])


def test_vectors_are_asked_for_with_every_prompt():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]")))
    model = Description(
        name="x",
        task="embedding",
        labels=[],
        runtime="ONNX Runtime",
        target="any",
        pairs=False,
        max_length=8,
        prompts={"query": "find: ", "document": "doc: "},
        default_prompt="document",
    )
    ways = ways_of(embedding, tokenizer, model, [])
    said = {way.name: way.prefix for way in ways}
    assert said == {"": "doc: ", "query": "find: ", "passage": "doc: ", "document": "doc: "}
    (passage,) = [row for row in embedding.rows_learnt(Row("a", "", "", "b")) if row.kind == "passage"]
    assert way_of(embedding, passage, ways) == "passage"


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


def written_for_browsers(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """What Python makes of the file for JavaScript."""
    (folder / "web").mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_for_browsers(folder, folder / "web")
    return Tokenizer.from_file(str(folder / "web/tokenizer.json"))


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
    written = written_for_browsers(tokenizer, tmp_path)
    assert "Whitespace" not in written.to_str()
    for text in texts:
        assert written.pre_tokenizer.pre_tokenize_str(text) == tokenizer.pre_tokenizer.pre_tokenize_str(text)


def test_joiners_that_python_keeps_are_hidden_from_javascript(tmp_path: Path):
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(_EMPTY_CHARSMAP), normalizers.Lowercase()])
    written = written_for_browsers(tokenizer, tmp_path)
    steps = json.loads(written.to_str())["normalizer"]["normalizers"]
    hide, inner, show = steps[0]["normalizers"]
    assert (inner["type"], steps[1]["type"]) == ("Precompiled", "Lowercase")
    assert hide == {"type": "Replace", "pattern": {"String": "\u200d"}, "content": show["pattern"]["String"]}
    assert written.normalizer.normalize_str("A\u200dB") == "a\u200db"


def test_the_same_tokens_pass():
    question = WebQuestion(text="a", text_pair=None, way="")
    read = WebRead(examples=[WebReading(ids=[1], types=[0])])
    check_tokens([question], [read], [read])


def test_an_error_of_the_page_is_told_with_the_text_that_it_is_about():
    question = WebQuestion(text="who?", text_pair="a context", way="")
    read = WebRead(examples=[WebReading(ids=[1], types=[0], starts=[0], ends=[1])])
    with pytest.raises(CompressError, match=r"1 of 1 texts otherwise .* 'a context' \(nowhere\)"):
        check_tokens([question], [read], [WebRead(error="nowhere")])


def test_another_text_of_what_was_written_is_refused():
    check_texts(["a ."], ["a ."])
    with pytest.raises(CompressError, match=r"makes other texts of 1 of 2 translations .* of 'a \.' it makes 'a\.'"):
        check_texts(["b", "a ."], ["b", "a."])
