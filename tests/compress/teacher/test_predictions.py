"""What a file says of the rows in place of a teacher: matched, checked, learnt from and compared with."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from small_bundles import bundled

from bench.measure.contenders import find_contenders
from compress.cli import commands
from compress.data.stage import load_data, run_data_stage
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.recipe.file import load_recipe
from compress.runs.directory import Run, find_run, open_run
from compress.student.summary import STUDENT, reference_stages
from compress.teacher.outputs import load_cache
from compress.teacher.predictions import load_probabilities, run_predictions_stage
from compress.teacher.sequences import load_student_data
from compress.teacher.summary import INITIAL, PREDICTIONS
from export.bundle.contents.bom import materials_of
from export.bundle.contents.card import Evidence, write_card
from export.bundle.contents.client import ClientExample

LABELS = ["date", "money", "percentage", "time"]
OTHER = dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def rows(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some rows of each split."""
    folder = tmp_path_factory.mktemp("rows")
    for split, step in (("train", 2), ("validation", 8), ("test", 4)):
        lines = (data_folder / f"{split}.jsonl").read_text("utf-8").splitlines()[::step]
        (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder


def rows_of(folder: Path, split: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def run(rows: Path, tiny_recipe: dict, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student of a file that calls all labels by other names; it lacks some training rows and half of the test."""
    root = tmp_path_factory.mktemp("soft")
    said = rows_of(rows, "train")[3:] + rows_of(rows, "test")[::2]
    file = write(
        root / "said.jsonl",
        [{"text": row["text"], "lang": row["lang"], "label": OTHER[row["label"]], "confidence": 0.97} for row in said],
    )
    recipe = {**tiny_recipe, "data": {"source": str(rows), "max_length": 32}}
    recipe["teacher"] = {"predictions": str(file), "scratch": tiny_recipe["teacher"]["scratch"]}
    recipe["student"] = {**tiny_recipe["student"], "distillation": {"alpha": 0, "temperature": 1}}
    recipe["evaluation"] = {"baseline": False}
    path = root / "recipe.json"
    path.write_text(json.dumps(recipe), "utf-8")
    this = open_run(load_recipe(path), root / "runs")
    commands.distill(this, in_json=True)
    return find_run(this.folder, root)


def test_there_is_no_teacher_and_the_store_holds_what_the_file_says(run: Run, rows: Path):
    stages = set(run.manifest.stages)
    assert {"predictions", "initial", "cache", "student"} <= stages
    assert "teacher" not in stages
    learnt = load_student_data(run).splits["train"]
    assert len(learnt) == len(load_data(run).splits["train"]) - sum(run.summary(PREDICTIONS).missing.values())
    logits = load_cache(run).logits()
    assert logits.shape == (len(learnt), 4)
    wanted = np.full(4, 0.01)
    wanted[LABELS.index(OTHER[learnt[0].label])] = 0.97
    assert np.exp(logits[0]) == pytest.approx(wanted, abs=1e-6)


def test_the_student_learns_what_the_file_says_and_is_compared_with_it(run: Run):
    summary = run.summary(EVALUATION)
    assert run.summary(STUDENT).rows.not_shared_by_teacher == run.summary(STUDENT).rows.rows
    has = ~np.isnan(load_probabilities(run, "test")[:, 0])
    assert summary.rows_of_teacher is not None
    assert summary.rows_of_teacher["all"] == has.sum() < summary.rows["all"]
    assert summary.models["teacher"]["all"]["accuracy"].value == 0  # all of its labels are others
    assert summary.student_against_teacher is not None
    assert summary.student_against_teacher.agreement > 0.6
    assert summary.models["student"]["all"]["accuracy"].value < 0.3


def test_variants_are_compared_with_the_student_and_the_card_names_the_file(run: Run, tmp_path: Path):
    assert reference_stages(run) == ["student"]
    assert [contender.name for contender in find_contenders(run, LABELS)[0]] == ["student"]
    assert materials_of(run.recipe, run.summary(INITIAL))["predictions"].name == "said.jsonl"
    model, rows = bundled("onnx", "student", "any"), list(load_data(run).splits["test"])[:3]
    (tmp_path / "models/cpu/onnx").mkdir(parents=True)
    (tmp_path / "models/cpu/onnx/config.pbtxt").touch()
    write_card(run, [model], Evidence(None), rows, ClientExample(model, plain=True), tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "distilled from predictions in a file" in card
    assert "- **Teacher**: the predictions in said.jsonl. Licence: not given." in card
    assert "First weights" not in card


@pytest.fixture
def predictions(rows: Path, tmp_path: Path) -> Callable[[Path], dict[str, np.ndarray]]:
    """What is read of a file."""

    def read(file: Path) -> dict[str, np.ndarray]:
        fields = {"data.source": str(rows), "teacher.predictions": str(file), "name": "read"}
        this = open_run(load_recipe(None, fields), tmp_path / "runs")
        run_data_stage(this)
        run_predictions_stage(this)
        return {split: load_probabilities(this, split) for split in ("train", "test")}

    return read


def test_lists_mappings_and_answers_say_the_same_in_every_kind_of_file(rows: Path, tmp_path: Path, predictions):
    train = rows_of(rows, "train")
    number = {label: place for place, label in enumerate(LABELS)}

    def spread(row: dict[str, str]) -> list[float]:
        return [0.7 if place == number[row["label"]] else 0.1 for place in range(4)]

    lists = [{"text": row["text"], "lang": row["lang"], "probabilities": spread(row)} for row in train]
    mappings = [
        {**row, "probabilities": dict(zip(reversed(LABELS), reversed(row["probabilities"]), strict=True))}
        for row in lists
    ]
    answers = [{**row, "confidence": 0.7} for row in train]
    with (tmp_path / "lists.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "lang", "probabilities"])
        writer.writeheader()
        writer.writerows({**row, "probabilities": json.dumps(row["probabilities"])} for row in lists)
    for name, content in (("lists", lists), ("mappings", mappings)):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), tmp_path / f"{name}.parquet")
    files = [tmp_path / name for name in ("lists.csv", "lists.parquet", "mappings.parquet")]
    files += [write(tmp_path / "answers.jsonl", answers), write(tmp_path / "mappings.jsonl", mappings)]
    wanted = np.array([spread(row) for row in train])
    for file in files:
        found = predictions(file)
        assert found["train"] == pytest.approx(wanted, abs=1e-6), file


def test_a_prediction_without_a_language_is_of_the_text_in_any(rows: Path, tmp_path: Path, predictions):
    train = rows_of(rows, "train")
    said = {row["text"]: {"text": row["text"], "probabilities": {row["label"]: 1}} for row in train}
    found = predictions(write(tmp_path / "said.jsonl", list(said.values())))
    assert not np.isnan(found["train"]).any()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"probabilities": [0.5, 0.5, 0.2, 0.1]}, "said.jsonl:1: the probabilities add up to 1.3, not to 1"),
        ({"probabilities": [1, 0, 0]}, "must be a mapping from labels, or a list of 4 numbers"),
        ({"probabilities": [1.2, -0.2, 0, 0]}, "must hold numbers from 0 to 1, got 1.2"),
        ({"probabilities": [float("nan"), 1, 0, 0]}, "must hold numbers from 0 to 1, got nan"),
        ({"probabilities": "no"}, "is no JSON; write a list or a mapping"),
        ({"probabilities": {"year": 1}}, "the data has no label 'year'; it has date, money, percentage, time"),
        ({"label": "year", "confidence": 0.9}, "the data has no label 'year'"),
        ({"label": "date"}, "says nothing of the row; give 'probabilities', or 'label' and 'confidence'"),
        ({"label": "date", "confidence": 0.2}, "confidence 0.2 of 'date' is no more than an even share of 4 labels"),
        ({"label": "date", "confidence": True}, "must hold numbers from 0 to 1, got True"),
        ({"label": "date", "confidence": 0.8}, "says something else than"),
    ],
)
def test_what_is_no_prediction_is_refused_with_its_place(changed, told, rows: Path, tmp_path: Path, predictions):
    said = [{"text": row["text"], "lang": row["lang"], "probabilities": {"date": 1}} for row in rows_of(rows, "train")]
    first = {"text": said[0]["text"], "lang": said[0]["lang"], **changed}
    with pytest.raises(CompressError, match=re.escape(told)):
        predictions(write(tmp_path / "said.jsonl", [first, *said]))


def test_a_file_of_other_rows_is_refused(rows: Path, tmp_path: Path, predictions):
    said = [{**row, "confidence": 1} for row in rows_of(rows, "train") if row["lang"] != "ja"]
    with pytest.raises(CompressError, match=r"has none for (\d+) of the \1 training rows in ja, more than 50 %"):
        predictions(write(tmp_path / "said.jsonl", said))
    with pytest.raises(CompressError, match="no such file"):
        predictions(tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"student.distillation.hidden.weight": 1}, "student.distillation.hidden asks a model"),
        ({"student.distillation.sentences.weight": 1}, "student.distillation.sentences asks a model"),
        ({"student.distillation.pivot": "en"}, "student.distillation.pivot asks a model"),
        ({"student.augmentation.copies": 1}, "student.augmentation.copies asks a model"),
        ({"student.cache.compute": "bf16"}, "student.cache.compute: bf16 asks a model"),
        ({"student.initialization": "svd"}, "student.initialization: svd asks a model"),
        ({"student.kind": "as-is"}, "student.kind: as-is asks a model"),
        ({"teacher.training.epochs": 1}, "training is for a teacher that is asked"),
        ({"teacher.model": "xlm-r", "teacher.fine_tune": False}, "fine_tune is for a teacher that is asked"),
        ({"task": "translation", "data.source": "rows"}, "teacher.predictions is for text-classification"),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_the_recipe(fields, told):
    with pytest.raises(CompressError, match=re.escape(told)):
        load_recipe(None, {"teacher.predictions": "said.jsonl", **fields})


def test_the_predictions_stage_is_made_anew_for_another_file(rows: Path, tmp_path: Path, predictions):
    said = [{**row, "confidence": 1.0} for row in rows_of(rows, "train")]
    before = predictions(write(tmp_path / "said.jsonl", said))["train"]
    after = predictions(write(tmp_path / "said.jsonl", [{**row, "confidence": 0.4} for row in said]))["train"]
    assert before.max() == 1
    assert after.max() == pytest.approx(0.4)
