"""A model that is exported as it is: without a student, with rows that may have no labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers
import yaml
from typer.testing import CliRunner

from bench.report.text import bench_tables
from bench.stage import run_bench_stage
from compress.cli import commands
from compress.cli.app import app
from compress.cli.outcome import show
from compress.data.columns import columns_of, row_of
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.models.load import load_model, load_tokenizer
from compress.models.taken import readable_tokens, task_of
from compress.recipe.data import Fields
from compress.recipe.file import load_recipe
from compress.recipe.teacher import Teacher
from compress.runs.directory import Run, find_run
from compress.tasks.registry import task_named
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify

_SETTINGS = {
    "export.parity.rows": 40,
    "export.parity.int8": {"max_difference": 3.0, "agreement": 0.9},
    "export.variants": ["onnx-int8"],
    "bench.rows": 8,
    "bench.rounds": 1,
    "bench.starts": 1,
    "bench.threads": 1,
}


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def model(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of somebody's own, of whose training nothing is known."""
    return shutil.copytree(finished_run / "student", tmp_path_factory.mktemp("models") / "our model")


@pytest.fixture(scope="module")
def texts(finished_run: Path) -> list[dict[str, object]]:
    """Rows without labels."""
    rows = [json.loads(line) for line in (finished_run / "data/test.jsonl").read_text("utf-8").splitlines()]
    return [{"text": row["text"], "lang": row["lang"]} for row in rows]


@pytest.fixture(scope="module")
def run(model: Path, texts: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What `compress export MODEL --data ROWS` makes of rows without labels, measured too."""
    root = tmp_path_factory.mktemp("as-is")
    this = commands.taken_run(model, write(root / "rows.jsonl", texts), _SETTINGS, root / "runs", in_json=True)
    commands.export(this, in_json=True)
    run_bench_stage(this)
    return find_run(this.folder, root)


def test_the_run_is_named_after_the_model_and_holds_no_student(run: Run, model: Path):
    assert run.folder.name == "our-model"
    assert run.recipe.data.max_length == 32  # what its tokenizer says
    stages = {"data", "model", "answers", "evaluation", "onnx", "onnx-fused", "onnx-int8", "bench"}
    assert set(run.manifest.stages) == stages
    one, other = (load_model(run.task, str(folder), []) for folder in (model, run.path_of("model")))
    for name, weights in one.state_dict().items():
        assert np.array_equal(weights, other.state_dict()[name])


def test_rows_are_divided_for_measuring_and_labelled_by_the_model(run: Run, texts: list[dict[str, object]]):
    data = load_data(run)
    shares = {split: round(len(rows) / len(texts), 1) for split, rows in data.splits.items()}
    assert shares == {"train": 0.2, "validation": 0.3, "test": 0.5}
    model = transformers.pipeline(
        "text-classification", str(run.path_of("model")), tokenizer=load_tokenizer(str(run.path_of("model")))
    )
    rows = list(data.splits["test"])[:20]
    assert [row.label for row in rows] == [found["label"] for found in model([row.text for row in rows])]
    assert set(data.splits["train"].column("label")) == {""}


def test_variants_are_compared_with_the_model_itself(run: Run, capsys: pytest.CaptureFixture[str]):
    report = run_bench_stage(run)
    assert (report.original, report.references, report.labelled) == ("model", ["model"], False)
    assert set(report.models) == {"model", "onnx", "onnx-fused", "onnx-int8"}
    for name in ("onnx", "onnx-fused", "onnx-int8"):
        found = report.models[name].against
        assert set(found) == {"model"}
        assert found["model"].drop["all"].value == pytest.approx(1 - found["model"].agreement)
    show(bench_tables(report), in_json=False)
    told = capsys.readouterr()
    assert "accuracy is told against what the model says of them" in " ".join((told.out + told.err).split())
    evaluation = run.summary(EVALUATION)
    assert evaluation.student_against_teacher is None
    assert evaluation.models["model"]["all"]["accuracy"].value == 1
    assert evaluation.seen_in_training == {}  # of a model from elsewhere it is not known


def test_its_bundle_verifies_and_claims_no_student(run: Run):
    run_bundle_stage(run, Wanted(variants=["onnx-int8"], accepted=["onnx-int8"]), None)
    folder = run.folder / "bundle"
    assert verify(folder, None, [], None).verdict == "pass"
    card = (folder / "README.md").read_text("utf-8")
    assert "a model as it is, in other forms" in card
    assert "**Model**: our model" in card
    assert "Student" not in card
    assert "Training rows" not in card


def test_the_same_again_changes_nothing(run: Run, model: Path, tmp_path: Path):
    before = run.manifest
    recipe = run.recipe
    this = commands.taken_run(model, recipe.data.source, _SETTINGS, run.folder.parent, in_json=True)
    assert this.recipe == recipe
    assert this.manifest == before


@pytest.mark.parametrize(
    ("task", "content", "said"),
    [
        ("token-classification", {"tokens": ["a", "b"], "lang": "en"}, ["O", "B-x"]),
        ("question-answering", {"question": "what?", "context": "  It is b.", "lang": "en"}, "b"),
        ("translation", {"source": "a", "source_lang": "en", "target_lang": "de"}, "ä ö ü ß"),
    ],
)
def test_every_task_takes_what_a_model_says_for_a_label(task: str, content: dict[str, object], said: object):
    module = task_named(task)
    row = row_of(module, "row 1", content, columns_of(module, Fields(), labelled=False))
    assert row is not None
    assert all(module.texts(row))
    answered = module.answered(row, said)
    assert answered is not None
    first = next(iter(module.metrics([said], [answered], ["O", "B-x"]).values()))
    assert first.value(first.statistics.sum(axis=0)) == pytest.approx(1)
    if task != "token-classification":
        assert module.answered(row, "") is None


def test_labels_are_those_of_the_model_and_rows_need_not_have_all(model: Path, finished_run: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (finished_run / "data/test.jsonl").read_text("utf-8").splitlines()]
    some = [row for row in rows if row["label"] in ("date", "time")]
    settings = {**_SETTINGS, "evaluation.baseline": False}
    this = commands.taken_run(model, write(tmp_path / "some.jsonl", some), settings, tmp_path / "runs", in_json=True)
    assert load_data(this).labels == ["date", "money", "percentage", "time"]
    assert "answers" not in this.manifest.stages
    assert this.summary(EVALUATION).models["model"]["all"]["accuracy"].value > 0.5


def test_what_a_model_is_for_is_told_by_its_head(model: Path):
    config = transformers.AutoConfig.from_pretrained(model)
    assert task_of("x", config) == "text-classification"
    config.architectures = ["M2M100ForConditionalGeneration"]
    assert task_of("x", config) == "translation"
    config.architectures = ["XLMRobertaForMaskedLM"]
    with pytest.raises(CompressError, match=r"x: what it is for cannot be told .*XLMRobertaForMaskedLM\); say it"):
        task_of("x", config)


def test_a_model_is_given_no_more_than_it_reads(tmp_path: Path, model: Path):
    shutil.copytree(model, tmp_path / "short")
    config = json.loads((tmp_path / "short/tokenizer_config.json").read_text("utf-8")) | {"model_max_length": 40}
    (tmp_path / "short/tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    assert readable_tokens("text-classification", Teacher(model=str(tmp_path / "short"))) == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL"], "a model and no run; to export it as it is name rows that it is for with --data"),
        (["--data", "ROWS"], "--data: name the model that the rows are for: compress export MODEL --data ROWS"),
        (["--task", "translation"], "--task is for a model that is exported as it is: name its rows with --data"),
        (["--revision", "main"], "--revision is for a model that is exported as it is: name its rows with --data"),
        (["MODEL", "--data", "NONE"], "none.csv: there are no rows; name a file that has some"),
        (["EMPTY", "--data", "ROWS"], "not a model folder (config.json is missing)"),
        (["MODEL", "--data", "none.jsonl"], "none.jsonl: no such file or folder (data.source)"),
        (
            ["MODEL", "--data", "ROWS", "--task", "translate"],
            "--task translate: there is none; name one of text-classification, multi-label-classification",
        ),
        (["MODEL", "--data", "ROWS", "--task", "translation"], "rows.jsonl:1: field 'source' is missing"),
        (["MODEL", "--data", "MIXED"], "mixed.jsonl:1: field 'label' is missing"),
        (["MODEL", "--data", "ROWS", "--task", "question-answering"], "field 'question' is missing"),
        (
            ["MODEL", "--data", "WORDS", "--task", "token-classification"],
            "its head is for text-classification (ModernBertForSequence",
        ),
        (["MODEL", "--data", "ROWS", "--set", "student.layers=3"], "there is no student; leave out layers"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    arguments: list[str], message: str, model: Path, texts: list, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    words = write(tmp_path / "words.jsonl", [{"tokens": [row["text"]], "lang": "de"} for row in texts])
    places = {
        "WORDS": words,
        "MODEL": str(model),
        "ROWS": write(tmp_path / "rows.jsonl", texts),
        "EMPTY": str(tmp_path / "empty"),
    }
    places["NONE"] = str(tmp_path / "none.csv")
    (tmp_path / "none.csv").write_text("text,lang\n")
    places["MIXED"] = write(tmp_path / "mixed.jsonl", [*texts, {**texts[0], "text": "one more", "label": "date"}])
    given = [places.get(argument, argument) for argument in arguments]
    done = CliRunner().invoke(app, ["export", *given, "--output", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*"))


def test_a_recipe_without_a_student_trains_and_exports_its_own_model(tiny_recipe: dict):
    recipe = {key: value for key, value in tiny_recipe.items() if key != "student"}
    found = load_recipe(None, {**recipe, "student": {"kind": "as-is"}})
    assert found.trains
    assert yaml.safe_load(yaml.safe_dump(found.model_dump(mode="json")))["student"]["kind"] == "as-is"
