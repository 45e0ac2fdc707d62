import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.stage import Contender, _worker, find_contenders
from bench.worker import WARM_UP_BATCHES, measure_latency
from compress.errors import CompressError
from compress.run import find_run
from compress.target import is_elsewhere, resolve_target

MODELS = ["teacher", "student", "onnx", "onnx-fused", "onnx-int8", "onnx-fp16"]


@pytest.fixture(scope="module")
def report(finished_run: Path) -> dict:
    return json.loads((finished_run / "bench/report.json").read_text())


def test_every_model_is_measured_on_the_same_rows(report: dict):
    assert list(report["models"]) == MODELS
    for name, model in report["models"].items():
        for size, batches in (("1", 24), ("8", 3)):
            samples = report["samples_ms"][name][size]
            assert len(samples) == 2 * batches  # two rounds
            assert model["latency"][size]["p50_ms"] == pytest.approx(np.median(samples), abs=1e-3)
            assert 0 < model["latency"][size]["p50_ms"] <= model["latency"][size]["p99_ms"]


def test_ratios_are_against_the_teacher(report: dict):
    teacher, int8 = report["models"]["teacher"], report["models"]["onnx-int8"]
    assert teacher["against_teacher"]["smaller"] == 1
    assert int8["against_teacher"]["smaller"] == pytest.approx(teacher["model_bytes"] / int8["model_bytes"], abs=0.01)
    faster = teacher["latency"]["1"]["p50_ms"] / int8["latency"]["1"]["p50_ms"]
    assert int8["against_teacher"]["faster"]["1"] == pytest.approx(faster, abs=0.1)
    assert int8["against_teacher"]["faster"]["1"] > 1


def test_memory_is_that_of_a_process_of_its_own(report: dict):
    memory = {name: model["peak_memory_bytes"] for name, model in report["models"].items()}
    assert memory["onnx"] < memory["teacher"] / 2  # no PyTorch in it
    assert memory["onnx"] > 20e6


def test_accuracy_is_that_of_the_evaluation(finished_run: Path, report: dict):
    evaluation = json.loads((finished_run / "evaluation/report.json").read_text())
    for name in ("teacher", "student"):
        assert report["models"][name]["quality"] == evaluation["models"][name]
    assert set(report["models"]["onnx-int8"]["quality"]) == {"de", "en", "ja", "all"}


def test_the_markdown_report_has_every_figure(finished_run: Path):
    text = (finished_run / "bench/report.md").read_text()
    for name in MODELS:
        assert f"| {name} | " in text
    assert "worst-language drop" in text


def test_a_variant_for_another_target_is_marked(finished_run: Path, report: dict):
    marked = {name for name, model in report["models"].items() if model["made_for_another_target"]}
    assert marked == {"onnx-fp16"}
    assert "| onnx-fp16 | ONNX Runtime (made for cuda) |" in (finished_run / "bench/report.md").read_text()
    assert is_elsewhere("cpu-arm" if resolve_target("auto").name != "cpu-arm" else "cpu-avx2")


def test_a_variant_of_an_earlier_student_is_left_out(finished_run: Path, tmp_path: Path):
    shutil.copytree(finished_run, tmp_path / "run")
    run = find_run(tmp_path / "run", tmp_path)
    manifest = run.manifest
    manifest["stages"]["onnx-fused"]["parents"]["onnx"] = "another digest"
    (tmp_path / "run/manifest.json").write_text(json.dumps(manifest))
    names = [contender.name for contender in find_contenders(run)]
    assert names == ["teacher", "student", "onnx", "onnx-fp16"]  # nor what was made from it


def test_warm_up_is_not_counted():
    calls = []

    def predict(batch):
        calls.append(batch)
        return np.zeros((1, 2), dtype=np.float32)

    batches = [{"input_ids": np.ones((1, 1))}] * 15
    milliseconds, outputs = measure_latency(predict, batches)
    assert len(milliseconds) == len(outputs) == 15
    assert len(calls) == 15 + WARM_UP_BATCHES


def test_a_measuring_process_that_ends_is_said(tmp_path: Path):
    (tmp_path / "examples.json").write_text('[{"input_ids": [1]}]')
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    setup = {
        "model": str(tmp_path),
        "task": "text-classification",
        "examples": str(tmp_path / "examples.json"),
        "pad_id": 0,
        "search": {"beams": 1, "length_penalty": 1.0, "max_tokens": 8},
        "threads": 1,
    }
    contender = Contender("broken", tmp_path, "ONNX Runtime", "any")
    with pytest.raises(CompressError, match=r"measures broken ended .*refuses it"), _worker(contender, setup):
        pass
