"""The store of teacher outputs: exact, shared between runs, and repaired where it is damaged."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_runs
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress.data.stage import load_data
from compress.errors import CompressError
from compress.machine import CpuFeatures
from compress.runs.directory import Run, find_run, keep_recipe
from compress.teacher import outputs as cache
from compress.training import precision

_WITH_BF16 = CpuFeatures("x86_64", "new", avx512_bf16=True)
EVERYTHING = {
    "student.distillation.hidden.weight": 1.0,
    "student.distillation.relations.weight": 1.0,
    "student.distillation.sentences.weight": 1.0,
}


@pytest.fixture
def run(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the run's data and teacher, with small shards."""
    folder = tmp_path / "runs/tiny"
    folder.mkdir(parents=True)
    for stage in ("data", "teacher"):
        shutil.copytree(finished_run / stage, folder / stage)
    for file in ("manifest.json", "recipe.yaml"):
        shutil.copy(finished_run / file, folder / file)
    monkeypatch.setattr(cache, "_SHARD_BYTES", 50_000)
    found = find_run(folder, folder.parent, EVERYTHING)
    keep_recipe(found)
    return found


def store(run: Run) -> Path:
    (folder,) = (run.folder.parent / ".cache").iterdir()
    return folder


def test_what_is_read_back_is_what_the_teacher_says(run: Run):
    outputs = cache.load_cache(run)
    teacher = AutoModelForSequenceClassification.from_pretrained(run.folder / "teacher").eval()
    tokenizer = AutoTokenizer.from_pretrained(run.folder / "teacher")
    texts = [row.text for row in load_data(run).splits["train"]]
    chosen = [0, 7, len(texts) - 1]
    inputs = tokenizer([texts[index] for index in chosen], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = teacher(**inputs, output_hidden_states=True)
    found = outputs.batch(chosen, inputs["input_ids"].shape[1])
    assert len(json.loads((store(run) / "index.json").read_text())["shards"]) > 1
    assert torch.allclose(found["logits"], expected.logits, atol=1e-4)
    real = inputs["attention_mask"].bool()
    for place, layer in enumerate((2, 4)):
        assert torch.allclose(found["hidden"][:, :, place][real], expected.hidden_states[layer][real], atol=1e-4)
    assert found["value"].shape[2:] == (1, 64)
    assert (found["hidden"][~real] == 0).all()
    assert np.allclose(outputs.logits()[chosen], expected.logits.numpy(), atol=1e-4)


def test_a_second_run_reads_what_the_first_wrote(run: Run, monkeypatch: pytest.MonkeyPatch):
    first = cache.load_cache(run).logits()
    other = run.folder.parent / "other"
    shutil.copytree(run.folder, other)
    monkeypatch.setattr(cache, "_make_shards", lambda *_: pytest.fail("the teacher was asked again"))
    assert np.array_equal(cache.load_cache(find_run(other, run.folder.parent)).logits(), first)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "index"])
def test_a_damaged_shard_is_found_and_made_again(run: Run, damage: str, capsys: pytest.CaptureFixture):
    before = cache.load_cache(run).logits()
    shards = sorted(store(run).glob("*.safetensors"))
    untouched = shards[0].stat().st_mtime_ns
    content = bytearray(shards[1].read_bytes())
    if damage == "flip":
        content[-3] ^= 1
        shards[1].write_bytes(content)
    elif damage == "truncate":
        shards[1].write_bytes(content[:100])
    elif damage == "delete":
        shards[1].unlink()
    else:
        (store(run) / "index.json").write_text("{")
    assert np.array_equal(cache.load_cache(run).logits(), before)
    if damage != "index":
        assert "is damaged or missing; making it again" in capsys.readouterr().err
        assert shards[0].stat().st_mtime_ns == untouched


def test_an_index_that_was_altered_is_made_again(run: Run):
    before, index = cache.load_cache(run).logits(), store(run) / "index.json"
    written = index.read_text("utf-8")
    content = json.loads(written)
    index.write_text(json.dumps({**content, "examples_per_shard": content["examples_per_shard"] - 1}), "utf-8")
    assert np.array_equal(cache.load_cache(run).logits(), before)
    assert index.read_text("utf-8") == written


def test_an_index_names_no_file_elsewhere(run: Run):
    before = cache.load_cache(run).logits()
    index, elsewhere = store(run) / "index.json", store(run).parents[1] / "weights.safetensors"
    elsewhere.write_text("somebody's")
    content = json.loads(index.read_text("utf-8"))
    content["shards"][0]["file"] = "../../weights.safetensors"
    index.write_text(json.dumps(content), "utf-8")
    assert np.array_equal(cache.load_cache(run).logits(), before)
    assert elsewhere.read_text() == "somebody's"


def test_half_precision_takes_half_the_space(run: Run):
    cache.load_cache(run)
    full = sum(path.stat().st_size for path in store(run).glob("*.safetensors"))
    exact = cache.load_cache(run).logits()
    shutil.rmtree(run.folder.parent / ".cache")
    half = find_run(run.folder, run.folder.parent, {"student.cache.precision": "fp16"})
    rounded = cache.load_cache(half).logits()
    assert 0.45 < sum(path.stat().st_size for path in store(run).glob("*.safetensors")) / full < 0.55
    assert np.allclose(exact, rounded, rtol=1e-3, atol=1e-3)


def test_a_teacher_that_multiplies_in_bf16_says_nearly_the_same_and_how_nearly(
    run: Run, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(precision, "cpu_features", lambda: _WITH_BF16)
    whole = cache.load_cache(run).logits()
    faster = find_run(run.folder, run.folder.parent, {**EVERYTHING, "student.cache.compute": "bf16"})
    outputs = cache.load_cache(faster)
    assert 0 < np.abs(outputs.logits() - whole).max() < 0.05 * whole.std()
    assert (outputs.logits().argmax(axis=1) == whole.argmax(axis=1)).mean() > 0.99
    assert outputs.batch([0], 40)["hidden"].dtype == torch.float32
    told = re.search(
        r"of 64 rows, outputs differ by at most (\d+\.\d) % .*, and (\d+) predictions", capsys.readouterr().err
    )
    assert told is not None
    assert 0 < float(told[1]) < 5


def test_a_processor_without_bf16_computes_in_32_bits_and_that_is_said(
    run: Run, capsys, monkeypatch: pytest.MonkeyPatch
):
    whole = cache.load_cache(run).logits()
    monkeypatch.setattr(precision, "cpu_features", lambda: CpuFeatures("x86_64", "Old One", avx2=True))
    asked = find_run(run.folder, run.folder.parent, {**EVERYTHING, "student.cache.compute": "bf16"})
    assert np.allclose(cache.load_cache(asked).logits(), whole, atol=1e-5)
    assert "cache: computed in 32 bits: Old One does not multiply in bf16" in capsys.readouterr().err


def test_too_much_is_refused_before_anything_is_written(run: Run):
    small = find_run(run.folder, run.folder.parent, {"student.cache.limit_gb": 0.0001})
    with pytest.raises(CompressError, match=r"would take .* GB, the limit is 0.0001; raise it, set precision to fp16"):
        cache.load_cache(small)
    assert not list(store(run).glob("*.safetensors"))


def test_outputs_that_are_no_numbers_are_refused(run: Run):
    """Weights that are numbers all, but so large that what is calculated with them is none."""
    path = run.folder / "teacher/model.safetensors"
    weights = load_file(path)
    head = weights["classifier.weight"]
    save_file({**weights, "classifier.weight": head / head.abs().max() * 3e38}, path, {"format": "pt"})
    tiny_runs.record_again(run.folder, "teacher")
    with pytest.raises(
        CompressError, match=r"^teacher: its outputs \(\w+\) are infinite or no numbers on some rows; its"
    ):
        cache.load_cache(run)
    assert not list(store(run).glob("*.safetensors"))
