"""Bundles of the small run, made once: with models for all targets, and with a graph that reads text."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest
import yaml

from compress.data.stage import run_data_stage
from compress.evaluation.stage import run_evaluation_stage
from compress.recipe.recipe import Recipe
from compress.reports.bench import Report, read_report
from compress.runs.directory import Run, find_run, open_run
from compress.student.stage import run_student_stage
from compress.teacher.outputs import run_cache_stage
from compress.teacher.stage import run_teacher_stage
from export.bundle.stage import Wanted, run_bundle_stage
from export.stage import run_export_stages

VARIANTS = ("onnx", "onnx-int8")
ACCEPTED = ("openvino-int8", "tensorrt-fp16")


@pytest.fixture(scope="session")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The small run, measured, and then with a variant for OpenVINO that was not, and a recipe that says what was not
    made."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    shutil.copytree(finished_run, folder)
    content = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    content["data"] |= {"source": "other.jsonl", "fields": {**content["data"]["fields"], "text_pair": "other"}}
    content["student"]["distillation"] |= {"alpha": 0.125, "temperature": 7.5}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content), "utf-8")
    found = find_run(folder, folder.parent, {"bundle.license": "Apache-2.0", "bundle.data_license": "CC-BY-4.0"})
    wider = found.recipe.export.model_copy(update={"variants": ["onnx-int8", "openvino-int8"]})
    run_export_stages(Run(found.folder, found.recipe.model_copy(update={"export": wider})))
    return found


@pytest.fixture(scope="session")
def report(run: Run) -> Report:
    return read_report(run.folder / "bench/report.json")


@pytest.fixture(scope="session")
def bundle(run: Run, report: Report) -> Path:
    """A bundle for reading; tests that alter it copy it."""
    run_bundle_stage(run, Wanted(VARIANTS, ACCEPTED), report)
    return run.folder / "bundle"


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    """A bundle to alter."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def text_run(tiny_recipe: dict, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose tokenizer can be put into the graph, up to its variants."""
    recipe = copy.deepcopy(tiny_recipe)
    tokenizer = {"model": "byte-level", "vocabulary_size": 500, "longest_piece": 4}
    recipe["teacher"]["scratch"]["tokenizer"] = tokenizer
    recipe["teacher"]["training"]["epochs"] = recipe["student"]["training"]["epochs"] = 1
    made = open_run(Recipe(**recipe), tmp_path_factory.mktemp("text"))
    for stage in (run_data_stage, run_teacher_stage, run_cache_stage, run_student_stage, run_evaluation_stage):
        stage(made)
    run_export_stages(made)
    return made


@pytest.fixture(scope="session")
def text_bundle(text_run: Run) -> Path:
    run_bundle_stage(text_run, Wanted(accepted=("onnx",), text_input=True), None)
    return text_run.folder / "bundle"
