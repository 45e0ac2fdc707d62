"""The variant for OpenVINO, loaded as its users would."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from transformers import AutoTokenizer

from compress.errors import CompressError, UnavailableError
from compress.runs.directory import find_run
from compress.runtimes.onnx import load_onnx
from compress.runtimes.openvino import load_openvino
from compress.runtimes.predict import load_predict, runtime_of
from compress.targets import TARGETS, resolve_target
from compress.tasks import text_classification
from compress.tasks.registry import task_named
from export.quantize.openvino import convert_openvino_bf16
from export.stage import run_export_stages


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, compress_command) -> Path:
    run = tmp_path_factory.mktemp("openvino") / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--variants", "openvino-int8", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["variants"]["openvino-int8"]["parity"]["agreement"] > 0.9
    return run


def test_openvino_loads_the_folder(run: Path):
    folder = run / "openvino-int8"
    inputs = AutoTokenizer.from_pretrained(folder)(["3,50 €", "午後3時"], padding=True, return_tensors="np")
    compiled = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU")
    logits = compiled({name: inputs[name] for name in ("input_ids", "attention_mask")})["logits"]
    expected = load_onnx(run / "onnx/model.onnx", task_named("text-classification"))(dict(inputs))
    assert logits.shape == expected.shape
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert 0 < np.abs(logits - expected).max() < 3


def test_it_is_small_and_opened_with_its_own_runtime(run: Path):
    sizes = {
        name: sum(path.stat().st_size for path in (run / name).glob("*odel.*")) for name in ("onnx", "openvino-int8")
    }
    assert sizes["openvino-int8"] < 2 * sizes["onnx"]  # of a model of a few kilobytes the description is most
    assert runtime_of(run / "openvino-int8") == "OpenVINO"
    assert runtime_of(run / "onnx-int8") == "ONNX Runtime"


def test_without_openvino_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(CompressError, match="OpenVINO is not installed; install the extra `openvino`"):
        load_predict(run / "openvino-int8", task_named("text-classification"), None)  # type: ignore[arg-type]


TEXTS = ["3,50 €", "午後3時", "12. März 1999"]
needs_bf16 = pytest.mark.skipif(not resolve_target("auto").bf16, reason="this processor has no bf16")


@pytest.fixture(scope="module")
def bf16(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in bf16, which any processor can write."""
    folder = tmp_path_factory.mktemp("bf16") / "openvino-bf16"
    folder.mkdir()
    convert_openvino_bf16(finished_run / "onnx", folder)
    return folder


def told(folder: Path) -> np.ndarray:
    """What our runtime gives of the texts."""
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="np")
    return load_predict(folder, text_classification, None)(dict(inputs))  # type: ignore[arg-type]


@needs_bf16
def test_a_form_in_bf16_is_compared_as_it_runs(finished_run: Path, tmp_path: Path, compress_command, bf16: Path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    done = compress_command("export", run, "--variants", "openvino-bf16", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["variants"]["openvino-bf16"]
    assert made["target"] == resolve_target("auto").name
    assert made["tolerance"]["max_difference"] == 0.5
    assert 1e-4 < made["parity"]["max_difference"] < 0.5
    difference = np.abs(told(run / "openvino-bf16") - told(run / "onnx"))
    assert 1e-4 < difference.max() < 0.5  # what is served is what was compared
    assert np.array_equal(told(bf16), told(run / "openvino-bf16"))


def test_weights_in_16_bits_are_half_as_large(finished_run: Path, bf16: Path):
    weights = (bf16 / "openvino_model.bin").stat().st_size
    assert weights < 0.55 * (finished_run / "onnx/model.onnx").stat().st_size


def test_a_processor_without_bf16_says_what_it_lacks(
    finished_run: Path, bf16: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("compress.targets.target_of", lambda _: TARGETS["cpu-vnni"])
    lacks = r"it calculates in bf16, which .* has no instructions for \(AVX512_BF16 or AMX_BF16\)"
    with pytest.raises(UnavailableError, match=rf"openvino-bf16: {lacks}; run another variant here"):
        load_openvino(bf16, text_classification)
    run = find_run(finished_run, tmp_path, {"export.variants": ["openvino-bf16"]})
    known = r"\(--target cpu-avx512-bf16 or cpu-amx\)"
    with pytest.raises(
        CompressError, match=rf"openvino-bf16: {lacks}; export it on such a processor {known}, or leave"
    ):
        run_export_stages(run)


def test_a_target_without_bf16_is_not_served_with_it(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("compress.targets.target_of", lambda _: TARGETS["cpu-amx"])
    run = find_run(finished_run, tmp_path, {"export.variants": ["openvino-bf16"], "export.target": "cpu-avx2"})
    with pytest.raises(CompressError, match="openvino-bf16: it calculates in bf16, and it would be for cpu-avx2;"):
        run_export_stages(run)
