import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir
import pytest

from bench.measure.contenders import Contender
from bench.measure.latency import Group, LatencyMeasurement
from bench.measure.machine import Machine
from bench.measure.protocol import RunAnswer, RunRequest, SizeBatch
from bench.measure.rows import check_classes
from bench.measure.workers import Measurement, Worker
from compress.errors import CompressError
from compress.metrics.languages import calibration_error
from compress.recipe.file import load_recipe
from compress.tasks.rows import Row

MODELS = ["teacher", "student", "onnx", "onnx-fused", "onnx-int8", "onnx-fp16"]


@pytest.fixture(scope="module")
def report(finished_run: Path) -> dict:
    return json.loads((finished_run / "bench/report.json").read_text())


def test_every_model_is_measured_on_the_same_rows(report: dict):
    assert list(report["models"]) == MODELS
    assert list(report["samples_ms"]) == [*MODELS, "reference"]
    for name, model in report["models"].items():
        for size, batches in (("1", 24), ("8", 3)):
            samples = report["samples_ms"][name][size]
            assert len(samples) == 2 * batches  # two rounds
            latency = model["latency"][size]
            assert latency["p50_ms"] == pytest.approx(np.median(samples), abs=1e-3)
            assert latency["mean_ms"] == pytest.approx(np.mean(samples), abs=1e-3)
            assert 0 < latency["p50_ms"] <= latency["p90_ms"] <= latency["p95_ms"] <= latency["p99_ms"]
            assert latency["rows_per_second"] == pytest.approx(2 * 24 / (sum(samples) / 1000), rel=0.01)


def test_ratios_are_of_pairs_of_runs(report: dict):
    teacher, int8 = report["models"]["teacher"], report["models"]["onnx-int8"]
    against = int8["against"]["teacher"]
    assert against["smaller"] == pytest.approx(teacher["size"]["total"] / int8["size"]["total"], abs=0.001)
    pairs = np.divide(report["samples_ms"]["teacher"]["1"], report["samples_ms"]["onnx-int8"]["1"])
    of_batches = np.median(np.log(pairs).reshape(report["rounds"], -1), axis=0)
    faster = against["faster"]["1"]
    assert faster["value"] == pytest.approx(np.exp(np.median(of_batches)), rel=0.01)
    assert 1 < faster["low"] <= faster["value"] <= faster["high"]


def test_memory_is_that_of_fresh_processes(report: dict):
    for model in report["models"].values():
        assert len(model["memory"]) == len(model["start_up_seconds"]) == report["starts"] == 2
        for memory in model["memory"]:
            assert 10e6 < memory["before"] < memory["needed"] <= memory["peak"]
            assert memory["gpu"] is None
    peaks = {name: model["memory"][0]["peak"] for name, model in report["models"].items()}
    assert peaks["onnx"] < peaks["teacher"] / 2  # no PyTorch in it


def test_languages_tell_tokens_and_latency(report: dict):
    for model in report["models"].values():
        assert list(model["languages"]) == ["de", "en", "ja"]
        assert sum(found["rows"] for found in model["languages"].values()) == 24
        assert all(found["tokens_per_row"] > 2 and found["p50_ms"] > 0 for found in model["languages"].values())


def test_the_grid_has_every_size(report: dict):
    assert report["lengths"] == [8, 32]
    for model in report["models"].values():
        assert [(cell["batch"], cell["length"]) for cell in model["grid"]] == [(1, 8), (1, 32), (8, 8), (8, 32)]
        for cell in model["grid"]:
            assert cell["p50_ms"] == pytest.approx(np.median(cell["samples_ms"]), abs=1e-3)


def test_texts_take_the_tokenizers_time_and_the_models(report: dict):
    for model in report["models"].values():
        tokenise, together = (model["texts"][part]["samples_ms"] for part in ("tokenise", "together"))
        assert len(tokenise) == len(together) == 24
        assert np.all(np.array(tokenise) < np.array(together))


def test_accuracy_is_that_of_the_evaluation(finished_run: Path, report: dict):
    evaluation = json.loads((finished_run / "evaluation/report.json").read_text())
    for name in ("teacher", "student"):
        assert report["models"][name]["quality"] == evaluation["models"][name]
    assert set(report["models"]["onnx-int8"]["quality"]) == {"de", "en", "ja", "all"}


def test_what_changed_is_counted(report: dict):
    one, other = (report["predictions"][name] for name in ("teacher", "student"))
    found = report["models"]["student"]["against"]["teacher"]
    changes = Counter((a, b) for a, b in zip(one, other, strict=True) if a != b)
    assert [change["rows"] for change in found["changed"]] == [count for _, count in changes.most_common(10)]
    for change in found["changed"]:
        assert change["rows"] == changes[change["from"], change["to"]] >= change["was_right"] + change["is_right"]
    assert found["agreement"] == pytest.approx(1 - changes.total() / len(one), abs=1e-4)


def test_calibration_is_that_of_the_confidences(finished_run: Path, report: dict):
    evaluation = finished_run / "evaluation"
    sure = np.array(json.loads((evaluation / "student-confidences.json").read_text()))
    rows = [json.loads(line) for line in (finished_run / "data/test.jsonl").read_text().splitlines()]
    predictions = json.loads((evaluation / "student-predictions.json").read_text())
    right = np.array([p == row["label"] for p, row in zip(predictions, rows, strict=True)])
    assert report["models"]["student"]["calibration"]["all"] == pytest.approx(calibration_error(sure, right), abs=1e-3)
    assert report["models"]["onnx"]["calibration"]["all"] == pytest.approx(
        report["models"]["student"]["calibration"]["all"], abs=1e-3
    )


def test_it_says_what_was_not_measured(report: dict):
    missing = {entry["what"]: entry["why"] for entry in report["not_measured"]}
    assert missing["tensorrt-fp16"].startswith("needs a GPU")
    assert "--load" in missing["latency under load"]


def test_a_variant_for_another_target_is_marked(finished_run: Path, report: dict):
    marked = {name for name, model in report["models"].items() if model["made_for_another_target"]}
    assert marked == {"onnx-fp16"}
    assert "| onnx-fp16 | ONNX Runtime (made for cuda) |" in (finished_run / "bench/report.md").read_text()


def test_all_models_are_run_before_the_next_batch():
    """Each batch is run by all, one after the other, and each starts as often as the others."""
    asked: list[tuple[str, int]] = []

    class Recorder:
        def __init__(self, name: str):
            self.name, self.setup = name, self

        def examples_of(self, rows: list[int]) -> list[int]:
            return list(rows)

        def ask(self, request: RunRequest) -> RunAnswer:
            asked.append((self.name, request.batch.examples[0]))
            return RunAnswer(1.0, 0.0)

    group = Group({name: Recorder(name) for name in ("a", "b", "c")}, cpus=())
    times = LatencyMeasurement(group, range(6), [1], seed=0)
    times.add_round()
    times.add_round()
    turns = [asked[start : start + 3] for start in range(0, len(asked), 3)]
    assert all({name for name, _ in turn} == {"a", "b", "c"} and len({row for _, row in turn}) == 1 for turn in turns)
    assert [turn[0][0] for turn in turns[:6]] == ["a", "b", "c", "a", "b", "c"]
    assert [turn[0][1] for turn in turns[:6]] != [turn[0][1] for turn in turns[6:]]  # another order each round
    assert times.milliseconds_of("a").shape == (2, 6)


def test_measuring_processes_are_kept_on_their_processors():
    one, every = Machine.with_threads(1), Machine.with_threads(None)
    assert one.cpus == every.cpus[-1:]
    assert one.threads == 1


def test_a_measuring_process_that_ends_is_said(tmp_path: Path, finished_run: Path):
    shutil.copytree(finished_run / "onnx", tmp_path / "onnx")
    (tmp_path / "onnx/model.onnx").write_bytes(b"nothing")
    recipe = load_recipe(finished_run / "recipe.yaml", {})
    bench = Measurement(recipe, [Row("12:30", "time", "en")], Machine.with_threads(1), tmp_path, SizeBatch(1, 8))
    contender = Contender("broken", tmp_path / "onnx", tmp_path / "onnx", (), "ONNX Runtime")
    with pytest.raises(CompressError, match=r"measures broken ended .*refuses it"):
        Worker("broken", bench.setup(contender))


def test_models_of_ones_own_are_measured_beside(finished_run: Path, tmp_path: Path, compress_command):
    """An ONNX file that wants int32 and names its output its own way, and a folder; with load and pytest's JSON."""
    shutil.copytree(finished_run, tmp_path / "run", symlinks=True)
    graph = onnx_ir.load(finished_run / "onnx/model.onnx")
    for value in graph.graph.inputs:
        wide = onnx_ir.Value(name=f"{value.name}_wide", shape=value.shape)
        value.replace_all_uses_with(wide)
        value.type = onnx_ir.TensorType(onnx_ir.DataType.INT32)
        cast = onnx_ir.Node("", "Cast", [value], [onnx_ir.AttrInt64("to", 7)], outputs=[wide])
        graph.graph.insert_before(graph.graph[0], cast)
    graph.graph.outputs[0].name = "scores"
    onnx_ir.save(graph, tmp_path / "theirs.onnx")
    done = compress_command(
        "bench", tmp_path / "run", "--variant", f"file={tmp_path / 'theirs.onnx'}",
        "--variant", f"folder={finished_run / 'student'}", "--load", "--pytest-json", tmp_path / "bench.json", "--json",
        "--set", "bench.rounds=1", "--set", "bench.starts=1", "--set", "bench.load.seconds=0.05",
        "--set", "bench.load.bound_ms=20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["bench"]
    assert "samples_ms" not in found
    given = {"bench.rounds": 1, "bench.starts": 1, "bench.load.seconds": 0.05, "bench.load.bound_ms": 20}
    assert found["overrides"] == {**given, "bench.load.enabled": True}
    assert (tmp_path / "run/recipe.yaml").read_text() == (finished_run / "recipe.yaml").read_text()
    for name in ("file", "folder"):
        assert found["models"][name]["quality"] == found["models"]["student"]["quality"]
        assert found["models"][name]["against"]["student"]["agreement"] == 1
    assert found["models"]["file"]["origin"] == str(tmp_path / "theirs.onnx")
    curves = found["models"]["file"]["load"]
    assert [curve["largest_batch"] for curve in curves] == [1, 8, 8]
    assert all(curve["bound_ms"] == 20 for curve in curves)
    names = [benchmark["param"] for benchmark in json.loads((tmp_path / "bench.json").read_text())["benchmarks"]]
    assert {"file-batch1", "teacher-batch8", "onnx-int8-batch8-length32"} <= set(names)


def test_a_model_for_other_classes_is_refused(tmp_path: Path):
    contender = Contender("three", tmp_path / "three.onnx", tmp_path, ("date", "money", "time", "unit"), "ONNX Runtime")
    check_classes(contender, 4)
    with pytest.raises(CompressError, match=r"three: .*three.onnx tells 3 classes apart, the data has 4; leave it out"):
        check_classes(contender, 3)
