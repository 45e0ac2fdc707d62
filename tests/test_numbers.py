"""Numbers of texts along the whole road: teacher, student, ONNX, int8, bundle, client; and as they are."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path

import pairings
import pytest
import task_rows
import transformers
from google.protobuf import text_format
from scipy.stats import pearsonr, spearmanr
from tiny_runs import tiny_recipe
from tritonclient.grpc.model_config_pb2 import ModelConfig

from compress import load
from compress.cli import commands
from compress.cli.outcome import show
from compress.data.stage import load_data
from compress.evaluation.summary import EVALUATION
from compress.evaluation.tables import evaluation_table
from compress.models.load import load_config
from compress.recipe.file import load_recipe
from compress.runs.directory import Run, find_run, open_run
from compress.serving.opened import open_to_try
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.variants.summary import variant_stage

_PACKED = ("onnx", "onnx-int8", "onnx-fp16", "tensorrt-fp16")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student of a teacher from scratch, exported and packed."""
    root = tmp_path_factory.mktemp("numbers")
    recipe = tiny_recipe(task_rows.write(root / "data", task_rows.lengths, 600))
    recipe["teacher"]["scratch"] |= {"layers": 2, "pretraining": None}
    recipe["teacher"]["training"] = recipe["student"]["training"] = {
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 0.003,
    }
    recipe["student"] |= {"hidden_size": 64, "feed_forward_size": 128}
    recipe["export"] |= {"variants": ["onnx-int8"], "tensorrt": {"enabled": True, "sm": [86]}}
    recipe["export"]["parity"]["int8"] = {"max_difference": 2.0, "agreement": 0.5}
    recipe |= {"task": "regression", "evaluation": {"baseline": False}}
    this = open_run(load_recipe(None, recipe), root / "runs")
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    run_bundle_stage(this, Wanted(_PACKED, _PACKED), None)
    return find_run(this.folder, root)


def test_student_and_teacher_learn_and_the_figures_are_those_of_scipy(run: Run):
    found = run.summary(EVALUATION)
    assert found.metrics == ["CCC", "Pearson", "Spearman", "MAE"]
    assert found.models["teacher"]["all"]["Pearson"].value > 0.7
    rows = list(load_data(run).splits["test"])
    said = json.loads((run.path_of(EVALUATION.name) / "student-predictions.json").read_text("utf-8"))
    for language in ("de", "en", "ja"):
        pairs = [(one, row.label) for one, row in zip(said, rows, strict=True) if row.lang == language]
        figures = found.models["student"][language]
        for name, known in (("Pearson", pearsonr), ("Spearman", spearmanr)):
            assert figures[name].value == pytest.approx(known(*zip(*pairs, strict=True)).statistic, abs=1e-4)
        error = sum(abs(one - other) for one, other in pairs) / len(pairs)
        assert figures["MAE"].value == pytest.approx(error, abs=1e-4)
    assert found.student_against_teacher is not None
    assert found.student_against_teacher.metric == "CCC"


def test_variants_are_compared_by_differences(run: Run):
    parity = run.summary(variant_stage("onnx-int8")).parity
    assert parity is not None
    assert 0 < parity.mean_difference < 0.5  # standard deviations of their parent's numbers
    assert run.summary(variant_stage("onnx")).parity.agreement == 1


def test_a_search_tells_what_a_form_loses_and_the_gate_sees_a_shift_of_the_numbers(run: Run, tmp_path: Path):
    trial = pairings.tried(run, tmp_path / "trials")
    assert (trial.search.metric, set(trial.search.drop)) == ("CCC", {"de", "en", "ja", "all"})
    assert abs(trial.search.worst_language_drop.value) < 0.2
    said = [row.label for row in load_data(run).splits["test"]]
    found = pairings.judged(run, said, [number + 50 for number in said])
    assert {(finding.figure, finding.language) for finding in found} == {
        ("CCC", language) for language in ("de", "en", "ja", "all")
    }
    assert {finding.verdict for finding in found} == {"fail"}
    assert "fail" not in {finding.verdict for finding in pairings.judged(run, said, said)}


def test_an_engine_is_built_ahead_of_time_and_triton_and_the_card_tell_of_every_form(run: Run):
    assert list((run.folder / "tensorrt-fp16").glob("*.engine"))
    card = (run.folder / "bundle/README.md").read_text("utf-8")
    assert "pipeline_tag: text-classification\n" in card  # as the hub calls it
    assert "temperature" not in card
    told = {
        "cpu/onnx-int8": {"logits": [1]},
        "tensorrt-rtx/tensorrt-fp16": {"PREDICTION": [1]},
    }
    for name, outputs in told.items():
        path = run.folder / "bundle/models" / name / "config.pbtxt"
        config = text_format.Parse(path.read_text("utf-8"), ModelConfig())
        assert {output.name: list(output.dims) for output in config.output} == outputs


def test_everyone_says_the_same(run: Run, capsys: pytest.CaptureFixture[str]):
    bundle, rows = run.folder / "bundle", list(load_data(run).splits["test"])[:20]
    assert verify(bundle).passed
    texts = [row.text for row in rows]
    evaluated = json.loads((run.path_of(EVALUATION.name) / "student-predictions.json").read_text("utf-8"))[:20]
    client = runpy.run_path(str(bundle / "client.py"))["predict"]([(text,) for text in texts])
    model = transformers.pipeline("text-classification", str(run.path_of("student")), device="cpu")
    scores = [found["score"] for found in model(texts, truncation=True, max_length=32)]
    served = load(bundle, "onnx").predict(texts)
    for said in ([answer.prediction for answer in served], client, scores):
        assert said == pytest.approx(evaluated, abs=1e-2)
    assert served[0].probabilities is None
    show([evaluation_table(run.summary(EVALUATION))], in_json=False)
    shown = "".join(capsys.readouterr())
    assert "Test CCC % (95 % interval), Pearson %, Spearman %, MAE" in " ".join(shown.split())


def test_a_model_of_numbers_is_told_by_its_head_and_taken_as_it_is(run: Run, tmp_path: Path):
    rows = [{"text": row.text, "lang": row.lang} for row in load_data(run).splits["test"]]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    model = shutil.copytree(run.path_of("student"), tmp_path / "theirs")
    config = json.loads((model / "config.json").read_text("utf-8"))
    assert config.pop("problem_type") == "regression"
    (model / "config.json").write_text(json.dumps(config), "utf-8")  # one output tells it too
    this = commands.taken_run(model, str(tmp_path / "rows.jsonl"), {}, tmp_path / "runs", in_json=True)
    assert this.recipe.task == "regression"
    assert load_config(this.path_of("model")).problem_type == "regression"
    assert this.summary(EVALUATION).models["model"]["all"]["CCC"].value == 1
    test = load_data(this).splits["test"]
    said = [answer.prediction for answer in open_to_try(this.folder, "model").predict([row.text for row in test])]
    assert said == pytest.approx([row.label for row in test], abs=1e-3)
