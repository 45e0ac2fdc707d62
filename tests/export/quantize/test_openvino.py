"""The variant for OpenVINO, loaded as its users would."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from transformers import AutoTokenizer

from compress.errors import CompressError
from compress.runtimes.onnx import load_onnx
from compress.runtimes.predict import load_predict, runtime_of
from compress.tasks.registry import task_named


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
