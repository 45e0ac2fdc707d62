"""Trimming a model's folder into another one."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_vocabularies
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from compress.errors import CompressError
from compress.models.load import save_tokenizer
from compress.models.vocabulary.folder import trim_model
from compress.recipe.teacher import Teacher

GERMAN = [("de", text) for text in small_vocabularies.texts()["de"]]


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """XLM-R with the head of its pre-training, in 16 bits."""
    folder = tmp_path_factory.mktemp("models") / "xlm-r"
    model, tokenizer = small_vocabularies.build("XLM-R", folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    (folder / "pytorch_model.bin").write_bytes(b"untrimmed")
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(b"untrimmed")
    return folder


@pytest.fixture
def sentences(plain: Path, tmp_path: Path) -> Path:
    """A model of sentence-transformers, without the pooler, which it has no use for."""
    folder = tmp_path / "sentences"
    shutil.copytree(plain, folder)
    AutoModel.from_pretrained(plain, add_pooling_layer=False).save_pretrained(folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    described = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(described))
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "query: "}}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    for name in ("1_Pooling/config.json", "2_Dense/model.safetensors"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("{}")
    return folder


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def german() -> Iterator[tuple[str, str]]:
    return iter(GERMAN)


def test_a_model_keeps_its_head_and_precision_and_leaves_other_formats_behind(plain: Path, tmp_path: Path):
    output = tmp_path / "deep" / "trimmed"
    summary = trim_model(Teacher(model=str(plain)), output, german, list)
    assert files_in(output) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    old, new = (AutoModelForMaskedLM.from_pretrained(folder).eval() for folder in (plain, output))
    assert new.dtype == torch.bfloat16
    size = sum(path.stat().st_size for path in (plain / "model.safetensors", output / "model.safetensors"))
    saved = (plain / "model.safetensors").stat().st_size * 2 - size
    assert summary.saved_megabytes == pytest.approx(saved / 1e6, abs=0.01)
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (plain, output)]
    batch = [
        tokenizer([text for _, text in GERMAN[:20]], padding=True, return_tensors="pt") for tokenizer in tokenizers
    ]
    with torch.no_grad():
        before, after = old(**batch[0]).logits, new(**batch[1]).logits
    kept = [
        tokenizers[0].convert_tokens_to_ids(token)
        for token in tokenizers[1].convert_ids_to_tokens(range(len(tokenizers[1])))
    ]
    assert torch.equal(before[..., kept], after)


@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_a_model_of_sentence_transformers_is_kept_whole(sentences: Path, tmp_path: Path, place: str):
    """Older ones have the transformer in a folder of its own."""
    if place:
        modules = json.loads((sentences / "modules.json").read_text())
        modules[0]["path"] = place
        (sentences / place).mkdir()
        for name in (
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "sentence_bert_config.json",
        ):
            (sentences / name).rename(sentences / place / name)
        (sentences / "modules.json").write_text(json.dumps(modules))
    trim_model(Teacher(model=str(sentences)), tmp_path / "trimmed", german, list)
    model = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"}
    whole = {"modules.json", "config_sentence_transformers.json", "1_Pooling/config.json", "2_Dense/model.safetensors"}
    assert files_in(tmp_path / "trimmed") == whole | {f"{place}/{name}".lstrip("/") for name in model}
    for name in whole:
        assert (tmp_path / "trimmed" / name).read_bytes() == (sentences / name).read_bytes()
    with safe_open(tmp_path / "trimmed" / place / "model.safetensors", "pt") as weights:
        assert not any("pooler" in name for name in weights.keys())  # noqa: SIM118


def test_what_cannot_be_trimmed_is_one_line_and_leaves_nothing(plain: Path, tmp_path: Path):
    def refused(message: str, folder: Path = plain, texts=german, output: Path = tmp_path / "new" / "trimmed") -> None:
        with pytest.raises(CompressError, match=message) as told:
            trim_model(Teacher(model=str(folder)), output, texts, list)
        assert "\n" not in str(told.value)
        assert not (tmp_path / "new").exists()

    def broken() -> Iterator[tuple[str, str]]:
        yield from GERMAN
        raise CompressError("de.txt: not UTF-8 text")

    refused("not UTF-8 text", texts=broken)
    refused("there is no text that could say what is used", texts=list)
    (tmp_path / "empty").mkdir()
    refused(r"empty: not a model folder \(config\.json is missing\)", folder=tmp_path / "empty")
    refused("it exists already; name a new folder", output=plain)
    (tmp_path / "sentences").mkdir()
    for modules in ('[{"path": "../.."}]', "[1]"):
        (tmp_path / "sentences" / "modules.json").write_text(modules)
        refused("its modules.json is not a list of sentence-transformers' modules", folder=tmp_path / "sentences")
