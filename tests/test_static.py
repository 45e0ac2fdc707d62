"""Static students along the whole road: token vectors of a teacher, ONNX, int8, bundle, model2vec; and refusals."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_sentence_models as small
import task_rows
import torch
from sentence_transformers import SentenceTransformer
from tiny_runs import tiny_recipe
from transformers import AutoModelForSequenceClassification

from bench.stage import run_bench_stage
from compress import load
from compress.cli import commands
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.metrics.vectors import cosines
from compress.models.load import load_model, load_tokenizer
from compress.recipe.file import load_recipe
from compress.runs.directory import Run, find_run, open_run
from compress.serving.opened import open_to_try
from compress.student.summary import STUDENT
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.variants.summary import variant_stage

TEXTS = [row["text"] for row in small.texts(40)]
_PACKED = ("onnx", "onnx-int8")


def kinds(expressions: list[dict[str, str]], generator: random.Random) -> Iterator[dict[str, object]]:
    """Of what kind is an expression?"""
    yield {name: value for name, value in generator.choice(expressions).items() if name in ("text", "label", "lang")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A static student with fewer tokens than its teacher, exported, measured and packed."""
    root = tmp_path_factory.mktemp("static")
    recipe = tiny_recipe(task_rows.write(root / "data", kinds, 320))
    recipe["teacher"]["scratch"] |= {"layers": 2}
    recipe["teacher"]["training"] |= {"epochs": 4}
    training = {**recipe["teacher"]["training"], "learning_rate": 0.03}
    recipe["student"] = {"kind": "static", "hidden_size": 24, "vocabulary_size": 200, "training": training}
    recipe["export"] |= {"variants": ["onnx-int8"]}
    recipe["export"]["parity"]["int8"] = {"max_difference": 3.0, "agreement": 0.5}
    recipe["bench"] = {"rows": 12, "rounds": 1, "starts": 1, "threads": 1, "lengths": [16]}
    this = open_run(load_recipe(None, recipe), root)
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    report = run_bench_stage(this, (), load=False)
    run_bundle_stage(this, Wanted(_PACKED, ()), report)
    return find_run(this.folder, root)


def test_it_learns_from_its_teacher_and_stands_beside_it_in_the_tables(run: Run):
    found = run.summary(EVALUATION).models
    assert found["student"]["all"]["accuracy"].value > 0.6
    summary = run.summary(STUDENT)
    assert (summary.layers, summary.width, summary.vocabulary.tokens_after) == (0, 24, 200)
    assert summary.parameters < run.summary(STUDENT).embedding_parameters + 200
    report = json.loads((run.folder / "bench/report.json").read_text("utf-8"))
    assert {"teacher", "student", "onnx", "onnx-int8"} <= set(report["models"])


def test_its_graph_is_a_gather_a_mean_at_length_one_and_a_product(run: Run):
    kinds = [node.op_type for node in onnx.load(run.path_of("onnx") / "model.onnx").graph.node]
    assert {"Gather", "MatMul", "ReduceL2", "Gemm"} <= set(kinds)
    assert not {"Softmax", "Attention", "LayerNormalization"} & set(kinds)
    assert run.summary(variant_stage("onnx")).parity.agreement == 1


def test_special_tokens_weigh_nothing_and_a_text_of_unknown_words_has_an_answer(run: Run):
    model = load_model(run.task, run.path_of("student"), load_data(run).labels)
    tokenizer = load_tokenizer(run.path_of("student"))
    assert model.config.weightless == sorted(tokenizer.all_special_ids)
    assert not model.get_input_embeddings().weight[tokenizer.all_special_ids].any()
    (answer,) = load(run.folder / "bundle", "onnx").predict(["☃☃☃"])
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_bundle_says_what_the_student_says(run: Run):
    assert verify(run.folder / "bundle").passed
    rows = list(load_data(run).splits["test"])[:40]
    said = json.loads((run.path_of(EVALUATION.name) / "student-predictions.json").read_text("utf-8"))[:40]
    found = load(run.folder / "bundle", "onnx").predict([row.text for row in rows])
    assert [answer.prediction for answer in found] == said


def test_its_vectors_open_as_a_static_embedding_of_sentence_transformers(run: Run):
    texts = [row.text for row in load_data(run).splits["test"]][:40]
    theirs = SentenceTransformer(str(run.path_of("student") / "model2vec"), device="cpu").encode(texts)
    model = load_model(run.task, run.path_of("student"), load_data(run).labels)
    tokenizer = load_tokenizer(run.path_of("student"))
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        summed = (model.eval().vectors_of(inputs["input_ids"]) * inputs["attention_mask"][:, :, None]).sum(dim=1)
    wanted = torch.nn.functional.normalize(summed, dim=-1).numpy()
    assert theirs == pytest.approx(wanted, abs=1e-5)
    assert np.linalg.norm(theirs, axis=1) == pytest.approx(1, abs=1e-4)
    assert isinstance(model, AutoModelForSequenceClassification._model_mapping[type(model.config)])


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A static student of a model that gives vectors, which has prompts."""
    root = tmp_path_factory.mktemp("vectors")
    teacher = small.write_sentence_model(root / "theirs", "mean", dense=24, prompts=small.PROMPTS)
    fields = {
        "task": "embedding",
        "data.source": str(small.write_rows(root / "pairs.jsonl", small.pairs(300))),
        "data.fields.text_pair": "text_pair",
        "data.max_length": 32,
        "teacher.model": str(teacher),
        "teacher.fine_tune": False,
        "student.kind": "static",
        "student.hidden_size": 24,
        "student.training.epochs": 4,
        "student.training.batch_size": 16,
        "student.training.learning_rate": 0.01,
        "student.training.precision": "fp32",
        "export.variants": ["onnx-int8", "onnx-static"],
    }
    this = commands.new_run(None, fields, None, root)
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    return find_run(this.folder, root)


def test_vectors_of_texts_are_near_the_teacher_s_and_open_in_sentence_transformers(vectors: Run):
    ours, theirs = (open_to_try(vectors.folder, name).encode(TEXTS, "query") for name in ("student", "teacher"))
    assert cosines(ours, theirs).mean() > 0.9
    for variant, least in (("onnx", 0.9999), ("onnx-int8", 0.99), ("onnx-static", 0.99)):
        assert cosines(open_to_try(vectors.folder, variant).encode(TEXTS, "query"), ours).min() > least
    opened = SentenceTransformer(str(vectors.path_of("student")), device="cpu")
    assert [type(module).__name__ for module in opened] == ["StaticEmbedding", "Normalize"]
    assert opened.encode(TEXTS, prompt_name="query") == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"student.layers": 2}, "kind: static has vectors of tokens and no layers; leave out layers"),
        ({"student.distillation.hidden.weight": 1}, "no layers that distillation.hidden could compare"),
        ({"task": "reranking", "data.source": "rows.jsonl"}, "student.kind: static is for tasks that read one text"),
        ({"task": "token-classification"}, "student.kind: static is for tasks that say something of a text as a whole"),
    ],
)
def test_what_has_no_layers_is_asked_for_none(fields: dict[str, Any], problem: str):
    with pytest.raises(CompressError, match=problem):
        load_recipe(None, {"student.kind": "static", **fields})


def test_it_is_no_wider_than_its_teacher(run: Run, tmp_path: Path):
    recipe = run.recipe.model_dump(mode="json")
    recipe["student"]["hidden_size"] = 500
    with pytest.raises(CompressError, match=r"student\.hidden_size: 500 numbers of a static student"):
        commands.distill(open_run(load_recipe(None, recipe), run.folder.parent), in_json=True)
