"""Texts with several labels along the whole road: teacher, student, ONNX, int8, bundle, client; and as they are."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pairings
import pytest
import task_rows
import transformers
from google.protobuf import text_format
from sklearn.metrics import f1_score
from tiny_runs import tiny_recipe
from tritonclient.grpc.model_config_pb2 import ModelConfig

from compress import load
from compress.cli import commands
from compress.data.stage import load_data
from compress.evaluation.summary import EVALUATION
from compress.models.load import load_config
from compress.recipe.file import load_recipe
from compress.runs.directory import Run, find_run, open_run
from compress.serving.opened import open_to_try
from compress.student.summary import STUDENT
from compress.teacher.summary import TEACHER
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.variants.summary import variant_stage

_PACKED = ("onnx", "onnx-int8", "onnx-fp16", "tensorrt-fp16")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student of a teacher from scratch, exported and packed."""
    root = tmp_path_factory.mktemp("several labels")
    recipe = tiny_recipe(task_rows.write(root / "data", task_rows.kinds, 600))
    recipe["teacher"]["scratch"] |= {"layers": 2, "pretraining": None}
    recipe["teacher"]["training"] = recipe["student"]["training"] = {
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 0.003,
    }
    recipe["student"] |= {"hidden_size": 64, "feed_forward_size": 128}
    recipe["export"] |= {"variants": ["onnx-int8"], "tensorrt": {"enabled": True, "sm": [86]}}
    recipe["export"]["parity"]["int8"] = {"max_difference": 6.0, "agreement": 0.8}
    recipe |= {"task": "multi-label-classification", "evaluation": {"baseline": False}}
    this = open_run(load_recipe(None, recipe), root / "runs")
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    run_bundle_stage(this, Wanted(_PACKED, _PACKED), None)
    return find_run(this.folder, root)


def test_teacher_and_student_learn_all_labels_and_the_figures_are_those_of_scikit_learn(run: Run):
    found = run.summary(EVALUATION)
    assert found.metrics == ["micro-F1", "macro-F1"]
    assert found.models["teacher"]["all"]["micro-F1"].value > 0.8
    rows, labels = list(load_data(run).splits["test"]), load_data(run).labels
    said = json.loads((run.path_of(EVALUATION.name) / "student-predictions.json").read_text("utf-8"))
    one, other = (
        np.array([[label in row for label in labels] for row in every]) for every in (said, [r.label for r in rows])
    )
    student = found.models["student"]["all"]
    assert student["micro-F1"].value == pytest.approx(f1_score(other, one, average="micro"), abs=1e-4)
    assert student["macro-F1"].value == pytest.approx(f1_score(other, one, average="macro"), abs=1e-4)
    german = np.array([row.lang == "de" for row in rows])
    date = labels.index("date")
    by_language = found.labels["student"]["date"].f1_by_language
    assert by_language["de"] == pytest.approx(f1_score(other[german, date], one[german, date]), abs=1e-4)
    assert found.student_against_teacher is not None
    assert set(found.student_against_teacher.labels) == set(labels)


def test_thresholds_are_each_models_own_and_go_with_it(run: Run):
    for stage in (TEACHER, STUDENT):
        training = run.summary(stage).training
        assert training is not None
        assert len(training.thresholds) == 4
        config = load_config(run.path_of(stage.name))
        assert (config.problem_type, config.decision_thresholds) == ("multi_label_classification", training.thresholds)
    about = json.loads((run.folder / "bundle/models/cpu/onnx-int8/1/compress.json").read_text("utf-8"))
    assert about["thresholds"] == run.summary(STUDENT).training.thresholds
    assert run.summary(variant_stage("onnx")).parity.agreement == 1


def test_a_search_tells_what_a_form_loses_and_the_gate_names_a_label_that_is_lost(run: Run, tmp_path: Path):
    trial = pairings.tried(run, tmp_path / "trials")
    assert (trial.search.metric, set(trial.search.drop)) == ("micro-F1", {"de", "en", "ja", "all"})
    assert abs(trial.search.worst_language_drop.value) < 0.2
    said = [row.label for row in load_data(run).splits["test"]]
    found = pairings.judged(run, said, [[label for label in labels if label != "date"] for labels in said])
    verdicts = {finding.place: finding.verdict for finding in found}
    assert verdicts["date"] == "fail"
    assert "fail" not in {verdicts[label] for label in ("money", "percentage", "time")}


def test_an_engine_is_built_ahead_of_time_and_triton_and_the_card_tell_of_every_form(run: Run):
    assert list((run.folder / "tensorrt-fp16").glob("*.engine"))
    card = (run.folder / "bundle/README.md").read_text("utf-8")
    assert "pipeline_tag: text-classification\n" in card  # as the hub calls it
    told = {
        "cpu/onnx-int8": {"logits": [4]},
        "tensorrt-rtx/tensorrt-fp16": {"PREDICTION": [1], "PROBABILITIES": [4]},
    }
    for name, outputs in told.items():
        path = run.folder / "bundle/models" / name / "config.pbtxt"
        config = text_format.Parse(path.read_text("utf-8"), ModelConfig())
        assert {output.name: list(output.dims) for output in config.output} == outputs


def test_everyone_says_the_same(run: Run, monkeypatch: pytest.MonkeyPatch):
    bundle, rows = run.folder / "bundle", list(load_data(run).splits["test"])[:40]
    assert verify(bundle).passed
    texts = [row.text for row in rows]
    served, own = load(bundle, "onnx").predict(texts), open_to_try(run.folder, "student").predict(texts)
    evaluated = json.loads((run.path_of(EVALUATION.name) / "student-predictions.json").read_text("utf-8"))[:40]
    assert [answer.prediction for answer in served] == [answer.prediction for answer in own] == evaluated
    assert {len(said) for said in evaluated} >= {0, 1}
    client = runpy.run_path(str(bundle / "client.py"))
    assert client["predict"]([(text,) for text in texts]) == evaluated
    pipeline = transformers.pipeline("text-classification", str(run.path_of("student")), top_k=None, device="cpu")
    for answer, found in zip(served, pipeline(texts, truncation=True, max_length=32), strict=True):
        assert answer.probabilities == pytest.approx({one["label"]: one["score"] for one in found}, abs=1e-4)
    config = (bundle / "models/cpu/onnx/configs/text.pbtxt").read_text("utf-8")
    assert "PROBABILITIES" in config


def test_a_threshold_decides(run: Run, tmp_path: Path):
    shutil.copytree(run.folder / "bundle/models/cpu/onnx/1", tmp_path / "model")
    about = json.loads((tmp_path / "model/compress.json").read_text("utf-8"))
    texts = [row.text for row in load_data(run).splits["test"]][:20]
    before = load(tmp_path / "model").predict(texts)
    for thresholds, said in (([0.999999] * 4, False), ([0.000001] * 4, True)):
        (tmp_path / "model/compress.json").write_text(json.dumps({**about, "thresholds": thresholds}), "utf-8")
        after = load(tmp_path / "model").predict(texts)
        assert all(bool(answer.prediction) is said for answer in after)
        assert [answer.probabilities for answer in after] == [answer.probabilities for answer in before]


def test_a_model_with_several_labels_is_told_by_its_problem_and_taken_as_it_is(run: Run, tmp_path: Path):
    rows = [{"text": row.text, "lang": row.lang} for row in load_data(run).splits["test"]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    model = shutil.copytree(run.path_of("student"), tmp_path / "theirs")
    this = commands.taken_run(model, str(tmp_path / "rows.jsonl"), {}, tmp_path / "runs", in_json=True)
    assert this.recipe.task == "multi-label-classification"
    taken = load_config(this.path_of("model"))
    assert taken.decision_thresholds == load_config(model).decision_thresholds
    assert this.summary(EVALUATION).models["model"]["all"]["micro-F1"].value == 1
    data = load_data(this)
    said = open_to_try(this.folder, "model").predict([row.text for row in data.splits["test"]])
    assert [answer.prediction for answer in said] == [row.label for row in data.splits["test"]]
