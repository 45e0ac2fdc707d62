import json
import shutil
from pathlib import Path

import pytest

from bench.measure.contenders import find_contenders, user_contenders
from bench.measure.trial import try_contenders
from bench.stage import run_bench_stage
from compress.errors import CompressError
from compress.evaluation.stage import load_predicted
from compress.runs.directory import find_run

LABELS = ("date", "money", "percentage", "time")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path):
    shutil.copytree(finished_run, tmp_path / "run")
    return find_run(tmp_path / "run", tmp_path)


def test_a_variant_of_an_earlier_student_is_left_out(run):
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["stages"]["onnx-fused"]["parents"]["onnx"] = "another digest"
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    found, missing = find_contenders(run, LABELS)
    assert [contender.name for contender in found] == ["teacher", "student", "onnx", "onnx-fp16"]
    assert {entry.what for entry in missing} >= {"onnx-fused", "onnx-int8"}  # nor what was made from it


def test_what_was_predicted_by_an_earlier_student_is_not_taken_for_this_one_s(run):
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["stages"]["evaluation"]["parents"]["student"] = "another digest"
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    for reading in (run_bench_stage, lambda run: load_predicted(run, "student")):
        with pytest.raises(
            CompressError, match=r"stage 'evaluation' was made from another 'student'; run `compress di"
        ):
            reading(run)


def test_engines_need_their_gpu(run):
    found, missing = find_contenders(run, LABELS)
    assert "tensorrt-fp16" not in [contender.name for contender in found]
    assert any(entry.what == "tensorrt-fp16" and entry.why.startswith("needs a GPU (sm80") for entry in missing)


def test_a_file_has_the_tokenizer_beside_it_or_the_students(run, tmp_path: Path):
    shutil.copy(run.folder / "onnx/model.onnx", tmp_path / "alone.onnx")
    beside, alone = user_contenders(
        [f"beside={run.folder / 'onnx/model.onnx'}", f"alone={tmp_path / 'alone.onnx'}"], run, LABELS
    )
    assert beside.tokenizer == run.folder / "onnx"
    assert alone.tokenizer == run.folder / "student"
    assert alone.labels == LABELS


def test_labels_keep_the_order_of_the_model(run, tmp_path: Path):
    shutil.copytree(run.folder / "onnx", tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs/config.json").read_text())
    config["id2label"] = {"0": "time", "1": "date", "2": "money", "3": "percentage"}
    (tmp_path / "theirs/config.json").write_text(json.dumps(config))
    (theirs,) = user_contenders([f"theirs={tmp_path / 'theirs'}"], run, LABELS)
    assert theirs.labels == ("time", "date", "money", "percentage")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("ours", "--variant ours: expected NAME=PATH"),
        ("../../ours=x", "a name has letters, digits"),
        ("onnx-int8=x", "the name 'onnx-int8' is taken"),
        ("tensorrt-fp16=x", "the name 'tensorrt-fp16' is taken"),
        ("reference=x", "the name 'reference' is taken"),
        ("ours=nowhere", "nowhere holds no model; name an ONNX file, or a folder with model.onnx"),
        ("ours={run}/data", "data holds no model"),
        ("ours={run}/recipe.yaml", "recipe.yaml holds no model"),
    ],
)
def test_what_is_no_model_is_refused(run, named: str, message: str):
    with pytest.raises(CompressError, match=message):
        user_contenders([named.format(run=run.folder)], run, LABELS)


def test_other_labels_are_refused(run, tmp_path: Path):
    shutil.copytree(run.folder / "onnx", tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs/config.json").read_text())
    config["id2label"]["0"] = "weather"
    (tmp_path / "theirs/config.json").write_text(json.dumps(config))
    with pytest.raises(CompressError, match=r"its labels \(weather, .*\) are not the data's .*; rename them in"):
        user_contenders([f"theirs={tmp_path / 'theirs'}"], run, LABELS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[" * 100_000, "no configuration of a model; copy it again"),
        ("[1]", "no configuration of a model; copy it again"),
        ('{"id2label": ["date"]}', "no configuration of a model; copy it again"),
        ('{"id2label": {"0": "date", "2": "time"}}', "id2label must number the labels from 0, each once"),
    ],
)
def test_a_configuration_that_is_none_is_named(run, tmp_path: Path, config: str, message: str):
    shutil.copytree(run.folder / "onnx", tmp_path / "theirs")
    (tmp_path / "theirs/config.json").write_text(config)
    with pytest.raises(CompressError, match=f"--variant theirs: .*config.json: {message}"):
        user_contenders([f"theirs={tmp_path / 'theirs'}"], run, LABELS)


def test_models_that_cannot_be_run_are_found_in_another_process(run, tmp_path: Path):
    for name in ("sound", "panics"):
        shutil.copytree(run.folder / "onnx", tmp_path / name)
    tokenizer = json.loads((tmp_path / "panics/tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}
    (tmp_path / "panics/tokenizer.json").write_text(json.dumps(tokenizer))
    named = user_contenders([f"{name}={tmp_path / name}" for name in ("sound", "panics")], run, LABELS)
    with pytest.raises(CompressError, match=r"--variant panics: .* the process that tried it ended with .*PanicExcept"):
        try_contenders(named, run.recipe, run.folder / "data/test.jsonl")
