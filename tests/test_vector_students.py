"""Students of models that give vectors: what they learn from, what they end with, and the road to a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fitting
import numpy as np
import pairings
import pytest
import small_sentence_models as small
import torch
from sentence_transformers import SentenceTransformer

from bench.fit.candidates import candidates_of
from bench.fit.forms import FormMaker
from bench.stage import run_bench_stage
from compress import load
from compress.cli import commands
from compress.data.stage import load_data, run_data_stage
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.metrics.languages import per_language
from compress.metrics.vectors import cosines
from compress.models.load import load_model, load_tokenizer
from compress.models.sentence_folder import head_of
from compress.runs.directory import Run, find_run
from compress.student.stage import run_student_stage
from compress.student.summary import STUDENT
from compress.targets import resolve_target
from compress.teacher.augmentation import run_augmentation_stage
from compress.teacher.outputs import load_cache, run_cache_stage
from compress.teacher.pool import build_pool, validation_pool
from compress.teacher.sequences import load_student_data
from compress.teacher.stage import run_teacher_stage
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify

TEXTS = [row["text"] for row in small.texts(40)]
QUICK = {"bench.rows": 12, "bench.rounds": 1, "bench.starts": 1, "bench.threads": 1, "bench.lengths": [16]}
VECTORS, LEARNT = "student.distillation.vectors", "student.distillation"
NARROW = {"student.layers": 1, "student.hidden_size": 16, "student.heads": 2, "student.feed_forward_size": 32}
Distil = Callable[..., Run]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With prompts and a layer behind the pooling."""
    folder = tmp_path_factory.mktemp("model") / "theirs"
    return small.write_sentence_model(folder, "mean", dense=24, prompts=small.PROMPTS)


@pytest.fixture(scope="module")
def distil(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Distil:
    """Distils a student of one layer, half as wide as its teacher, of rows in pairs."""
    root = tmp_path_factory.mktemp("runs")
    rows = small.write_rows(root / "pairs.jsonl", small.pairs(300))

    def distilled(name: str, changes: dict | None = None, *, until_teacher: bool = False) -> Run:
        fields = {
            "name": name,
            "task": "embedding",
            "data.source": str(rows),
            "data.fields.text_pair": "text_pair",
            "data.fields.parallel": "group",
            "data.max_length": 32,
            "teacher.model": str(model),
            "teacher.fine_tune": False,
            "student.training.epochs": 3,
            "student.training.batch_size": 16,
            "student.training.precision": "fp32",
            "export.variants": ["onnx-int8"],
        }
        run = commands.new_run(None, {**fields, **NARROW, **QUICK, **(changes or {})}, None, root)
        stages = (run_data_stage, run_teacher_stage, run_cache_stage, run_student_stage)
        for stage in stages[:2] if until_teacher else stages:
            stage(run)
        return run

    return distilled


@pytest.fixture(scope="module")
def run(distil: Distil) -> Run:
    """Distilled, exported, measured and packed."""
    this = distil("road", {f"{VECTORS}.dimensions": [8]}, until_teacher=True)
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    report = run_bench_stage(this, (), load=False)
    run_bundle_stage(this, Wanted(("onnx", "onnx-int8"), ()), report)
    return find_run(this.folder, this.folder.parent)


def test_the_student_gives_vectors_of_the_teacher_s_length_that_are_near_the_teacher_s(run: Run):
    ours, theirs = (SentenceTransformer(str(run.path_of(name)), device="cpu") for name in ("student", "teacher"))
    assert [type(module).__name__ for module in ours] == ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]
    assert (ours[2].in_features, ours[2].out_features) == (16, 32)
    assert cosines(ours.encode(TEXTS), theirs.encode(TEXTS)).min() > 0.9
    assert ours.prompts["query"] == "query: "
    assert ours.max_seq_length == 32
    assert run.summary(STUDENT).training.metric == "loss"
    found = run.summary(EVALUATION)
    assert found.student_against_teacher.metric == "nDCG@10"
    assert found.seen_in_training == {"de": "text", "en": "text"}


def test_what_an_index_loses_that_keeps_its_vectors_in_fewer_bytes_is_told(run: Run):
    found = run.summary(EVALUATION)
    assert {name: stored.bytes for name, stored in found.index.items()} == {"int8": 24, "binary": 3, "first 8": 32}
    drops = {name: stored.losses.drop["all"].value for name, stored in found.index.items()}
    assert abs(drops["int8"]) < 0.02 < drops["binary"]
    whole = found.models["student"]["all"]["nDCG@10"].value
    assert found.index["binary"].quality["all"]["nDCG@10"].value == pytest.approx(whole - drops["binary"], abs=1e-3)


def test_its_forms_and_its_bundle_give_what_it_gives(run: Run):
    wanted = SentenceTransformer(str(run.path_of("student")), device="cpu").encode(TEXTS, prompt_name="query")
    bundle = run.folder / "bundle"
    assert verify(bundle).passed
    assert load(bundle, "onnx").encode(TEXTS, "query") == pytest.approx(wanted, abs=1e-5)
    assert cosines(load(bundle, "onnx-int8").encode(TEXTS, "query"), wanted).min() > 0.98
    bench = json.loads((run.folder / "bench/report.json").read_text("utf-8"))
    assert {*bench["models"]} >= {"teacher", "student", "onnx-int8"}
    assert bench["models"]["onnx-int8"]["against"]["teacher"]["metric"] == "nDCG@10"


def test_the_teacher_is_asked_about_each_text_once_and_about_the_validation_texts(run: Run):
    data = load_data(run)
    rows = [row for split in ("train", "validation") for row in data.splits[split]]
    pool, judged = build_pool(data, run.recipe), validation_pool(data, run.recipe)
    assert [row.kind for row in pool.rows][:2] == ["query", "passage"]
    texts = {(row.lang, kind, text) for row in rows for kind, text in enumerate((row.text, row.text_pair))}
    store = load_cache(run)
    assert len(store.rows()) == len(pool.rows) + len(judged.rows)
    assert len(texts) <= len(store.rows()) < 2 * len(rows)
    teacher = load_model(run.task, run.path_of("teacher"), [])
    assert store.logits().shape[1] == teacher.head[1].linear.out_features == 24


def test_a_student_on_principal_components_has_vectors_as_long_as_it_is_wide(distil: Distil, capsys):
    this = distil("components", {f"{VECTORS}.projection": "principal-components"})
    assert "16 of 24 numbers of the teacher's vectors" in capsys.readouterr().err
    vectors = SentenceTransformer(str(this.path_of("student")), device="cpu").encode(TEXTS)
    assert vectors.shape == (40, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_fit_judges_students_by_what_is_found_and_cuts_narrower_ones_out_of_the_teacher(run: Run):
    rows = list(load_data(run).splits["test"])
    said = FormMaker(run, load_data(run), resolve_target("auto")).predictions(run.path_of("onnx"), rows)
    found = per_language(run.task.metrics(said, rows, []), [row.lang for row in rows])
    assert found["all"]["nDCG@10"].value == pytest.approx(
        run.summary(EVALUATION).models["student"]["all"]["nDCG@10"].value, abs=1e-4
    )
    narrower = [found for found in candidates_of(run, 100) if found.heads < 4 and not found.is_static]
    assert {candidate.initialization for candidate in narrower} == {"svd"}


def test_a_fit_finds_the_student_by_what_is_found_with_its_vectors_static_ones_among_them(distil: Distil):
    this = distil("fitted", {"student.training.epochs": 1}, until_teacher=True)
    report = fitting.fitted_in_seconds(this)
    assert (report.metric, report.fits) == ("nDCG@10", True)
    trained = {trial.name: trial for trial in report.trials if trial.rungs}
    assert [trial.candidate.is_static for trial in trained.values()] == [True, False]  # the fastest first
    assert all({*trial.rungs[-1].losses.drop} == {"de", "en", "all"} for trial in trained.values())
    assert report.trials[0].frontier
    assert [trial.chosen for trial in trained.values()].count(True) == 1
    vectors = SentenceTransformer(str(this.path_of("student")), device="cpu").encode(TEXTS)
    assert vectors.shape == (40, 24)


def test_a_budget_is_of_what_is_found_and_is_obeyed(run: Run, tmp_path: Path):
    assert pairings.obeys_budgets(run, tmp_path / "trials")


def test_the_gate_fails_where_less_is_found_and_not_where_all_is_as_before(run: Run, tmp_path: Path):
    rows = list(load_data(run).splits["test"])
    harmed = Path(shutil.copytree(run.path_of("onnx-int8"), tmp_path / "harmed"))
    pairings.harm(harmed)
    maker = FormMaker(run, load_data(run), resolve_target("auto"))
    said, less = (maker.predictions(form, rows) for form in (run.path_of("onnx-int8"), harmed))
    found = {finding.language: finding for finding in pairings.judged(run, said, less)}
    assert {finding.figure for finding in found.values()} == {"nDCG@10"}
    assert found["all"].verdict == "fail"
    assert "fail" not in {finding.verdict for finding in pairings.judged(run, said, said)}


def test_with_a_pivot_the_teacher_reads_the_parallel_text_of_the_same_kind(distil: Distil):
    this = distil("pivot", {f"{LEARNT}.pivot": "en"}, until_teacher=True)
    pool = build_pool(load_data(this), this.recipe)
    for row, read in zip(pool.rows, pool.reads, strict=True):
        other = pool.teacher_rows[int(read)]
        assert (other.lang, other.parallel, other.kind) == ("en", row.parallel, row.kind)
    assert {row.lang for row in pool.rows} == {"de", "en"}


def test_layers_are_copied_with_the_head_and_tokens_left_out_and_signals_from_within_learnt(distil: Distil):
    signals = {"hidden.weight": 0.1, "relations.weight": 0.1, "relations.heads": 2}
    this = distil(
        "copied", {"student.every_nth_layer": 2, **{f"{LEARNT}.{name}": value for name, value in signals.items()}}
    )
    student, teacher = (load_model(this.task, this.path_of(name), []) for name in ("student", "teacher"))
    assert [module.kind for module in head_of(student.config).modules] == ["Pooling", "Dense", "Normalize"]
    assert torch.allclose(student.head[1].linear.weight, teacher.head[1].linear.weight, atol=0.3)
    fewer = distil("fewer", {"student.every_nth_layer": 2, "student.vocabulary_size": 60})
    kept = SentenceTransformer(str(fewer.path_of("student")), device="cpu").tokenizer.get_vocab()
    assert len(kept) == 60
    assert {"query:", "passage:"} <= {*kept}


def test_copies_of_the_training_texts_are_learnt_too_each_with_its_prompt(distil: Distil, tmp_path: Path):
    copied = {"student.augmentation.copies": 1, "student.augmentation.kinds": ["pieces", "joined"]}
    more = {"data.unlabelled": str(small.write_rows(tmp_path / "more.jsonl", iter([{"text": "w1 w2", "lang": "fr"}])))}
    this = distil("copies", {**copied, **more, "student.training.epochs": 0.1}, until_teacher=True)
    run_augmentation_stage(this)
    run_cache_stage(this)
    pool = build_pool(load_student_data(this), this.recipe)
    assert len(pool.texts) < len(pool.rows) <= 2 * len(pool.texts)
    copies = pool.rows[len(pool.texts) :]
    assert {row.kind for row in copies} == {"query", "passage"}
    assert "fr" in {row.lang for row in pool.texts} - {row.lang for row in copies}
    assert run_student_stage(this).rows.kept == len(pool.rows)


def test_texts_without_a_partner_are_learnt_beside_pairs(distil: Distil, tmp_path: Path):
    more = [{"text": f"w{number} w{number} w{number}", "lang": "fr"} for number in range(30)]
    unlabelled = {"data.unlabelled": str(small.write_rows(tmp_path / "more.jsonl", iter(more)))}
    alone = {"data.default_prompt": "passage", "data.prompts": small.PROMPTS}
    this = distil("more", {**unlabelled, **alone, "student.training.epochs": 0.1})
    pool = build_pool(load_data(this), this.recipe)
    assert [(row.kind, row.lang, row.parallel) for row in pool.rows][-30:] == [(None, "fr", None)] * 30
    (example,) = this.task.encoder(load_tokenizer(this.path_of("student")), this.recipe.data, [])([pool.rows[-1]])
    assert example["input_ids"][1] == load_tokenizer(this.path_of("student")).get_vocab()["passage:"]
    assert this.summary(STUDENT).rows.kept == len(pool.rows)


def test_a_narrower_student_is_cut_out_of_the_teacher(distil: Distil):
    losses = {}
    for method in ("random", "svd", "importance"):
        this = distil(method, {"student.initialization": method, "student.training.epochs": 0.1})
        losses[method] = this.summary(STUDENT).training.best
    assert len({*losses.values()}) == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"teacher.fine_tune": True}, "takes a model as it is: name teacher.model, and set teacher.fine_tune: false"),
        ({f"{VECTORS}.dimensions": [8, 25]}, "dimensions: 25 are more than the 24 of the student's vectors"),
        ({f"{VECTORS}.cosine": 0, f"{VECTORS}.similarities": 0}, "the student learns nothing where cosine, mse"),
        ({f"{VECTORS}.similarities": 0, f"{VECTORS}.dimensions": [8]}, "learn the similarities, whose weight is 0"),
        ({f"{LEARNT}.alpha": 0.5}, "student.distillation.alpha is for tasks that learn labels"),
        (
            {"data.fields.text_pair": None, "data.fields.parallel": None}
            | {f"{VECTORS}.projection": "principal-components"},
            "are measured by what they find: name data.fields.text_pair or data.fields.parallel",
        ),
        (
            {"student.hidden_size": 48, f"{VECTORS}.projection": "principal-components"},
            "the student's 48 numbers are more than the 24 of the teacher's vectors",
        ),
        ({"student.languages": ["fr"]}, "student.languages: no training rows in fr"),
        ({"task": "text-classification", f"{VECTORS}.mse": 1}, "student.distillation.vectors is for embedding"),
    ],
)
def test_what_cannot_be_learnt_is_refused_in_a_line(distil: Distil, changes: dict, problem: str):
    with pytest.raises(CompressError, match=problem):
        distil("refused", changes)
