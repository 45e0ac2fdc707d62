"""A teacher that brings code of its own: it runs where the recipe says so, in every stage, and nowhere else."""

import json
import shutil
from pathlib import Path

import cached_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForSequenceClassification, BertConfig
from typer.testing import CliRunner

from bench.measure.contenders import find_contenders
from bench.measure.machine import Machine
from bench.measure.protocol import SizeBatch
from bench.measure.worker import MeasuredModel
from bench.measure.workers import Measurement
from compress.cli.app import app
from compress.cli.commands import _try_export
from compress.data.stage import load_data, run_data_stage
from compress.errors import CompressError
from compress.evaluation.stage import run_evaluation_stage
from compress.models.intake import take_in
from compress.models.load import load_config, load_model, load_tokenizer, save_tokenizer, without_weights
from compress.models.sentence_folder import SentenceHead, SentenceModule, keep_head
from compress.models.source import Code, fetch
from compress.models.tokenizers import train_tokenizer
from compress.recipe.recipe import Recipe
from compress.recipe.teacher import Teacher
from compress.recipe.training import NewTokenizer
from compress.runs.directory import Run, open_run
from compress.runtimes.onnx import load_onnx
from compress.runtimes.predict import load_predict
from compress.runtimes.pytorch import load_torch
from compress.student.stage import run_student_stage
from compress.tasks.registry import task_named
from compress.teacher.outputs import run_cache_stage
from compress.teacher.stage import run_teacher_stage
from export.bundle.contents.bom import Material, materials_of, write_bom
from export.bundle.stage import check_no_code
from export.onnx.plain import export_onnx

TEXTS = {"bad": "schlecht", "good": "sehr gut"}
_CONFIGURATION = """
from transformers import BertConfig

class OwnConfig(BertConfig):
    model_type = "own"
"""
_MODEL = """
from transformers import BertForSequenceClassification
from .configuration_own import OwnConfig

class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, **others):
        found = super().forward(input_ids, attention_mask, token_type_ids, **others)
        found.logits = found.logits + 100  # as no other model does
        return found
"""
_CLASSES = {
    "AutoConfig": "configuration_own.OwnConfig",
    "AutoModelForSequenceClassification": "modeling_own.OwnForSequenceClassification",
}
_CODE = ["configuration_own.py", "modeling_own.py"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        lines = [
            {"text": f"{split} {TEXTS[label]} {number}", "label": label, "lang": "de"}
            for number in range(10)
            for label in TEXTS
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def commit(rows: Path) -> str:
    """Of the model on the hub."""
    folder = rows.parent / "model"
    tokenizer = train_tokenizer([*TEXTS.values(), "0123456789 train validation test"], NewTokenizer(), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(tokenizer), id2label={0: "bad", 1: "good"}, **sizes)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, "model_type": "own", "auto_map": _CLASSES}))
    (folder / "configuration_own.py").write_text(_CONFIGURATION)
    (folder / "modeling_own.py").write_text(_MODEL)
    return cached_hub.keep(folder, rows.parent / "hub", "org/own")


@pytest.fixture(scope="module", autouse=True)
def hub(rows: Path):
    """What the hub's client has in its cache, here and in other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(rows.parent / "hub"))
        patch.setenv("HF_HUB_CACHE", str(rows.parent / "hub"))
        patch.setenv("TOKEN_OF_OURS", "hf_secret")
        yield


def run_of(rows: Path, name: str, **teacher: object) -> Run:
    training = {"epochs": 1, "batch_size": 8}
    recipe = {
        "name": name,
        "data": {"source": str(rows), "max_length": 16},
        "teacher": {"model": "org/own", "token": "TOKEN_OF_OURS", "fine_tune": False, **teacher},
        "student": {"every_nth_layer": 2, "training": training, "distillation": {"hidden": {"weight": 1.0}}},
    }
    return open_run(Recipe.model_validate(recipe), rows.parent / "runs")


@pytest.fixture(scope="module")
def finished(rows: Path, commit: str) -> Run:
    run = run_of(rows, "trusted", trust_remote_code=True)
    run_data_stage(run)
    run_teacher_stage(run)
    run_cache_stage(run)
    run_student_stage(run)
    run_evaluation_stage(run)
    return run


def logits_of(run: Run, stage: str) -> np.ndarray:
    predict = load_torch(run.path_of(stage), run.task, trust_remote_code=True)
    return predict({name: np.ones((1, 5), np.int64) for name in ("input_ids", "attention_mask")})


def test_code_runs_in_every_stage_of_a_run_that_trusts_it(finished: Run):
    for stage in ("teacher", "student"):
        assert sorted(path.name for path in finished.path_of(stage).glob("*.py")) == _CODE
        told = json.loads((finished.path_of(stage) / "config.json").read_text())
        assert told["auto_map"] == _CLASSES
        assert logits_of(finished, stage).min() > 50


def test_a_graph_computes_the_same_and_carries_no_code(finished: Run, tmp_path: Path):
    labels = load_data(finished).labels
    export_onnx(finished.task, finished.path_of("student"), tmp_path, labels, trust_remote_code=True)
    assert not list(tmp_path.glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "config.json").read_text())
    feed = {name: np.ones((1, 5), np.int64) for name in ("input_ids", "attention_mask")}
    found = load_onnx(tmp_path / "model.onnx", finished.task)(feed)
    np.testing.assert_allclose(found, logits_of(finished, "student"), atol=1e-4)
    assert load_tokenizer(tmp_path)("sehr gut")["input_ids"]


def test_it_runs_where_an_export_is_tried_beforehand(rows: Path, commit: str, monkeypatch: pytest.MonkeyPatch):
    tried = []
    monkeypatch.setattr("export.onnx.trial.try_export", lambda _, config, *others: tried.append((config, others)))
    run = run_of(rows, "tried", trust_remote_code=True)
    run_data_stage(run)
    monkeypatch.setattr("compress.teacher.stage.try_teacher", lambda *_: None)
    _try_export(run)
    ((config, (_, _, trusted, _)),) = tried
    assert (type(config).__name__, config.num_hidden_layers, trusted) == ("OwnConfig", 1, True)


def test_measuring_runs_it_too(finished: Run, tmp_path: Path):
    data, trusted = load_data(finished), []
    contenders, _ = find_contenders(finished, data.labels)
    measurement = Measurement(finished.recipe, list(data.splits["test"]), Machine((0,)), tmp_path, SizeBatch(1, 8))

    def load(path: Path, task: object, search: object, threads: int, trusts_code: bool):
        trusted.append(trusts_code)
        return load_predict(path, task, search, None, trusts_code)

    for contender in contenders:
        MeasuredModel(measurement.setup(contender).told, load)._opened()
    assert (trusted, [contender.name for contender in contenders]) == ([True, True], ["teacher", "student"])


@pytest.fixture(scope="module")
def elsewhere(rows: Path, commit: str) -> tuple[Path, str]:
    """The same model in a folder, whose code lies in a repository of its own, and the commit of that."""
    folder, code = rows.parent / "elsewhere", rows.parent / "code"
    shutil.copytree(rows.parent / "model", folder)
    code.mkdir()
    for name in _CODE:
        (folder / name).rename(code / name)
    told = json.loads((folder / "config.json").read_text())
    classes = {loader: f"org/code--{name}" for loader, name in _CLASSES.items()}
    (folder / "config.json").write_text(json.dumps({**told, "auto_map": classes}))
    pinned = cached_hub.keep(code, rows.parent / "hub", "org/code")
    return folder, pinned


def test_code_of_another_repository_is_of_one_commit_which_is_noted(elsewhere: tuple[Path, str], rows: Path):
    folder, pinned = elsewhere
    run = run_of(rows, "elsewhere", model=str(folder), trust_remote_code=True, token=None)
    run_data_stage(run)
    summary = run_teacher_stage(run)
    assert summary.intake is not None
    assert summary.intake.code == Code(repository="org/code", revision=pinned)
    assert json.loads((run.path_of("teacher") / "config.json").read_text())["auto_map"] == _CLASSES
    assert logits_of(run, "teacher").min() > 50
    assert materials_of(run.recipe, summary)["code"] == Material("org/code", None, pinned)


def test_newer_code_of_another_repository_is_not_what_a_commit_says(elsewhere: tuple[Path, str], tmp_path: Path):
    folder, pinned = elsewhere
    newer = _MODEL.replace("+ 100", "+ 200")
    (tmp_path / "configuration_own.py").write_text(_CONFIGURATION)
    (tmp_path / "modeling_own.py").write_text(newer)
    later = cached_hub.keep(tmp_path, Path(constants.HF_HUB_CACHE), "org/code", "later")
    rows = {"de": ["sehr gut"]}
    for revision, least, most in ((pinned, 50, 150), ("later", 150, 250)):
        teacher = Teacher(model=str(folder), fine_tune=False, trust_remote_code=True, code_revision=revision)
        taken = take_in(task_named("text-classification"), teacher, ["bad", "good"], 16, rows)
        found = taken.model(**taken.tokenizer("gut", return_tensors="pt")).logits
        assert least < found.min() < most
        assert taken.intake.code == Code(repository="org/code", revision=later if revision == "later" else pinned)


def test_a_model_of_vectors_is_made_of_such_code_however_often(elsewhere: tuple[Path, str], tmp_path: Path):
    shutil.copytree(elsewhere[0], tmp_path / "model")
    told = json.loads((tmp_path / "model/config.json").read_text())
    told["auto_map"]["AutoModel"] = "org/code--modeling_own.OwnForSequenceClassification"
    (tmp_path / "model/config.json").write_text(json.dumps(told))
    source = fetch(Teacher(model=str(tmp_path / "model"), trust_remote_code=True))
    config = load_config(source, trust_remote_code=True)
    keep_head(config, SentenceHead(modules=[SentenceModule(kind="Pooling", modes=["mean"], width=16)]))
    for _ in range(2):
        made = without_weights(task_named("embedding"), source, config, trust_remote_code=True)
        assert type(made.base_model).__name__ == "OwnForSequenceClassification"


def test_code_of_several_repositories_is_refused(elsewhere: tuple[Path, str], tmp_path: Path):
    shutil.copytree(elsewhere[0], tmp_path / "model")
    told = json.loads((tmp_path / "model/config.json").read_text())
    told["auto_map"]["AutoModel"] = "org/more--modeling_own.Own"
    (tmp_path / "model/config.json").write_text(json.dumps(told))
    with pytest.raises(CompressError, match=r"its code lies in several repositories \(org/code, org/more\), of which"):
        fetch(Teacher(model=str(tmp_path / "model"), trust_remote_code=True))
    assert fetch(Teacher(model=str(tmp_path / "model"))).code is None


def test_prediction_and_trimming_run_it_where_they_are_told_to(commit: str, tmp_path: Path):
    said = CliRunner().invoke(app, ["predict", "org/own", "sehr gut", "--json"])
    assert said.exit_code == 2
    assert "brings code of its own" in said.stderr
    trusted = ["--trust-remote-code", "--revision", commit, "--token", "TOKEN_OF_OURS"]
    said = CliRunner().invoke(app, ["predict", "org/own", "sehr gut", "--json", *trusted])
    assert said.exit_code == 0, said.stderr
    (tmp_path / "de.txt").write_text("sehr gut\nschlecht\n")
    trim = ["trim", "org/own", "--text", str(tmp_path / "de.txt"), "--output", str(tmp_path / "trimmed")]
    said = CliRunner().invoke(app, [*trim, *trusted])
    assert said.exit_code == 0, said.stderr
    assert sorted(path.name for path in (tmp_path / "trimmed").glob("*.py")) == _CODE
    model, told = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "trimmed", trust_remote_code=True, output_loading_info=True
    )
    assert not told["missing_keys"]
    ids = load_tokenizer(tmp_path / "trimmed")("sehr gut", return_tensors="pt")
    assert model(**ids).logits.min() > 50


def test_nothing_else_runs_it(finished: Run, rows: Path):
    message = r"brings code of its own, which is run only where that is asked for; read it, then set teacher.trust_rem"
    with pytest.raises(CompressError, match=rf"^org/own: it {message}"):
        run_data_stage(run_of(rows, "untrusted"))
    with pytest.raises(CompressError, match=message):
        load_model(finished.task, finished.path_of("teacher"), ["bad", "good"])
    with pytest.raises(ValueError, match="custom code"):
        load_torch(finished.path_of("teacher"), finished.task)


def test_a_tokenizer_of_code_does_not_go_into_a_bundle(tmp_path: Path):
    check_no_code(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["own.OwnTokenizer", null]}}')
    with pytest.raises(CompressError, match=r"is code of its own, which a bundle never carries; use one that"):
        check_no_code(tmp_path)


def test_the_commit_is_noted_and_the_token_is_not(finished: Run, commit: str, tmp_path: Path):
    summary = run_teacher_stage(finished)
    assert summary.intake is not None
    assert (summary.intake.revision, summary.intake.embeddings) == (commit, summary.intake.tokens)
    materials = materials_of(finished.recipe, summary)
    write_bom(tmp_path / "bom.json", materials["data"], finished.manifest.stages["teacher"].finished, [], materials, {})
    (teacher,) = [
        part for part in json.loads((tmp_path / "bom.json").read_text())["components"] if part["name"] == "org/own"
    ]
    assert (teacher["version"], teacher["purl"]) == (commit, f"pkg:huggingface/org/own@{commit}")
    written = [path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()]
    assert not any(b"hf_secret" in content for content in written)
    assert "token" not in finished.manifest.stages["teacher"].inputs
