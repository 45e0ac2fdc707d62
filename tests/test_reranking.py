"""Rerankers along the whole road: a teacher and its student, and models as they are; and refusals."""

from __future__ import annotations

import json
import runpy
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fitting
import pairings
import pytest
import small_rerankers as small
import small_sentence_models
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.evaluation import CrossEncoderRerankingEvaluator
from tiny_runs import tiny_recipe
from torch import nn
from typer.testing import CliRunner

from bench.stage import run_bench_stage
from compress import load
from compress.cli import commands
from compress.cli.app import app
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.evaluation.stage import load_predicted
from compress.evaluation.summary import EVALUATION
from compress.models.load import load_teacher
from compress.models.reranker import activation_of
from compress.recipe.file import load_recipe
from compress.recipe.teacher import Teacher
from compress.runs.directory import Run, find_run, open_run
from compress.serving.opened import open_to_try
from compress.student.stage import distil
from compress.student.summary import STUDENT
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.teacher.outputs import load_cache
from compress.teacher.summary import PREDICTIONS
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.onnx.graphs import depends_on_batch
from export.variants.summary import variant_stage

QUICK = {"bench.rows": 12, "bench.rounds": 1, "bench.starts": 1, "bench.threads": 1, "bench.lengths": [16]}
METRICS = ["nDCG@10", "MRR@10", "recall@1", "recall@5"]


def write(path: Path, rows: Any) -> Path:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.write_cross_encoder(tmp_path_factory.mktemp("model") / "theirs")


@pytest.fixture(scope="module")
def taken(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A CrossEncoder as it is, exported, measured and packed."""
    root = tmp_path_factory.mktemp("taken")
    rows = write(root / "rows.jsonl", small.rows(150))
    fields = {"export.variants": ["onnx-int8"], "export.parity.int8": {"max_difference": 2.0, "agreement": 0.5}}
    this = commands.taken_run(model, str(rows), {**fields, **QUICK}, root, in_json=True)
    commands.export(this, in_json=True)
    report = run_bench_stage(this, (), load=False)
    run_bundle_stage(this, Wanted(("onnx", "onnx-int8"), ()), report)
    return find_run(this.folder, root)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A student that learned by how much passages are apart, of a teacher from scratch."""
    root = tmp_path_factory.mktemp("distilled")
    recipe = tiny_recipe(write(root / "rows.jsonl", small.rows(300)))
    recipe["teacher"]["scratch"] |= {"layers": 2, "tokenizer": {"vocabulary_size": 200}}
    recipe["teacher"]["training"] |= {"epochs": 6, "mask_probability": 0}
    recipe["student"]["training"] = recipe["teacher"]["training"]
    recipe["export"] |= {"variants": ["onnx-int8"]}
    recipe["export"]["parity"]["int8"] = {"max_difference": 2.0, "agreement": 0.5}
    this = open_run(load_recipe(None, {**recipe, "task": "reranking"}), root / "runs")
    commands.distill(this, in_json=True)
    commands.export(this, in_json=True)
    return find_run(this.folder, root)


def samples(rows: list[Row]) -> list[dict[str, Any]]:
    """The queries of rows, as the evaluators of sentence-transformers read them."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        query = found.setdefault(row.text, {"query": row.text, "positive": [], "negative": []})
        query["positive" if row.label > 0 else "negative"].append(row.text_pair)
    return list(found.values())


def test_a_cross_encoder_tells_what_it_is_for_and_its_scores_are_those_of_sentence_transformers(
    model: Path, taken: Run
):
    assert (taken.recipe.task, taken.recipe.data.max_length) == ("reranking", 32)
    pairs = [(row.text, row.text_pair) for row in load_data(taken).splits["test"]][:40]
    wanted = CrossEncoder(str(model), device="cpu").predict(pairs)
    for variant in ("model", "onnx"):
        found = open_to_try(taken.folder, variant).predict(*zip(*pairs, strict=True))
        assert [answer.prediction for answer in found] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_passages_that_are_missing_are_asked_for_as_the_command_has_them(taken: Run):
    done = CliRunner().invoke(app, ["predict", str(taken.folder), "a query"])
    assert done.exit_code == 2
    assert "model reads pairs: give the second text of each with --pair" in " ".join(done.stderr.split())


@pytest.mark.parametrize("folder", ["onnx", "bundle/models/cpu/onnx/1"])
def test_a_variant_s_folder_has_what_other_people_s_libraries_look_for(taken: Run, folder: str):
    config, transformer, tokenizer = (
        json.loads((taken.folder / folder / name).read_text("utf-8"))
        for name in ("config.json", "sentence_bert_config.json", "tokenizer_config.json")
    )
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert len(config["id2label"]) == len(config["label2id"]) == 1  # what Text Embeddings Inference knows rerankers by
    assert transformer["max_seq_length"] == tokenizer["model_max_length"] == 32


def test_figures_are_those_of_its_own_evaluator(model: Path, taken: Run):
    rows = [row for row in load_data(taken).splits["test"] if row.lang == "de"]
    told = CrossEncoderRerankingEvaluator(samples(rows), write_csv=False)(CrossEncoder(str(model), device="cpu"))
    summary = taken.summary(EVALUATION)
    assert summary.metrics == METRICS
    figures = summary.models["model"]["de"]
    assert figures["nDCG@10"].value == pytest.approx(told["ndcg@10"], abs=1e-4)
    assert figures["MRR@10"].value == pytest.approx(told["mrr@10"], abs=1e-4)
    assert figures["nDCG@10"].low < figures["nDCG@10"].value < figures["nDCG@10"].high
    bench = json.loads((taken.folder / "bench/report.json").read_text("utf-8"))
    assert bench["models"]["onnx-int8"]["against"]["model"]["metric"] == "nDCG@10"


def test_a_score_is_the_same_alone_and_among_others_of_any_length_in_int8_too(taken: Run):
    served = open_to_try(taken.folder, "onnx-int8")
    passages = [row.text_pair for row in load_data(taken).splits["test"]][:31]
    together = served.predict(["w20 w30"] * 32, [*passages, "w1 " * 25])
    alone = [served.predict(["w20 w30"], [passage])[0].prediction for passage in passages]
    assert [answer.prediction for answer in together[:31]] == pytest.approx(alone, abs=1e-5)
    assert not depends_on_batch(taken.path_of("onnx-int8") / "model.onnx")


def test_a_bundle_ranks_and_so_does_its_client(model: Path, taken: Run):
    bundle = taken.folder / "bundle"
    assert verify(bundle).passed
    served, passages = load(bundle, "onnx"), ["w1 w2", "w50 w60 w70", "w9", "w33 w44"]
    ranked = served.rank("w20 w30", passages)
    theirs = CrossEncoder(str(model), device="cpu").rank("w20 w30", passages)
    assert [found.place for found in ranked] == [found["corpus_id"] for found in theirs]
    assert [found.score for found in ranked] == pytest.approx([float(found["score"]) for found in theirs], abs=1e-5)
    assert [passages[found.place] for found in ranked] == [found.passage for found in ranked]
    client = runpy.run_path(str(bundle / "client.py"))["rank"]("w20 w30", passages)
    assert [passage for _, passage in client] == [found.passage for found in ranked]
    assert [score for score, _ in client] == pytest.approx([found.score for found in ranked], abs=1e-5)
    assert served.rank("w20 w30", []) == []
    with ThreadPoolExecutor(4) as pool:
        assert set(map(tuple, pool.map(lambda _: served.rank("w20 w30", passages), range(8)))) == {tuple(ranked)}
    with pytest.raises(CompressError, match="rank: passages must be a list of texts, got str"):
        served.rank("a", "b")
    card = (bundle / "README.md").read_text("utf-8")
    assert "pipeline_tag: text-ranking" in card
    assert 'load("bundle").rank("a query", ["a passage", "another"])' in card


def test_a_student_learns_what_its_teacher_says_and_opens_in_sentence_transformers(run: Run):
    found = run.summary(EVALUATION)
    assert found.models["teacher"]["all"]["nDCG@10"].value > 0.9
    assert found.models["student"]["all"]["nDCG@10"].value > 0.8
    assert found.student_against_teacher.metric == "nDCG@10"
    assert 0 < found.student_against_teacher.agreement <= 1
    pairs = [(row.text, row.text_pair) for row in load_data(run).splits["test"]][:40]
    theirs = CrossEncoder(str(run.path_of("student")), device="cpu")
    assert isinstance(theirs.activation_fn, nn.Sigmoid)
    ours = open_to_try(run.folder, "student").predict(*zip(*pairs, strict=True))
    assert [answer.prediction for answer in ours] == pytest.approx(theirs.predict(pairs).tolist(), abs=1e-5)


def test_a_search_tries_whole_queries_and_the_gate_sees_a_ranking_turned_round(run: Run, tmp_path: Path):
    trial = pairings.tried(run, tmp_path / "trials")
    assert trial.search.metric == "nDCG@10"
    assert abs(trial.search.worst_language_drop.value) < 0.3
    assert run.summary(variant_stage("onnx")).parity.agreement == 1
    rows = list(load_data(run).splits["test"])
    said = load_predicted(run, "student").predictions
    turned = run.task.findings([-row.score for row in said], rows, "cosine")
    assert {finding.verdict for finding in pairings.judged(run, said, turned)} == {"fail"}
    assert "fail" not in {finding.verdict for finding in pairings.judged(run, said, said)}


def test_a_budget_is_of_the_order_of_passages_and_is_obeyed(run: Run, tmp_path: Path):
    assert pairings.obeys_budgets(run, tmp_path / "trials")


def test_a_fit_finds_the_reranker_that_loses_least_of_the_order_of_passages(run: Run, tmp_path: Path):
    this = Run(Path(shutil.copytree(run.folder, tmp_path / run.folder.name, symlinks=True)), run.recipe)
    shutil.copytree(run.folder.parent / ".cache", tmp_path / ".cache")
    report = fitting.fitted_in_seconds(this)
    assert (report.metric, report.fits) == ("nDCG@10", True)
    (trained,) = (trial for trial in report.trials if trial.rungs)  # no reranker is static
    assert trained.chosen
    assert {*trained.rungs[-1].losses.drop} == {"de", "en", "ja", "all"}
    assert this.summary(STUDENT).layers == 1
    assert load_recipe(this.folder / "fit/recipe.yaml").student.every_nth_layer == 2


@pytest.mark.parametrize("activation", [nn.Identity(), nn.Sigmoid()])
def test_scores_are_activated_as_the_folder_says_and_rows_without_labels_are_held_against_the_model(
    activation: nn.Module, tmp_path: Path
):
    model = small.write_cross_encoder(tmp_path / "theirs", activation_fn=activation)
    rows = [{key: value for key, value in row.items() if key != "label"} for row in small.rows(40)]
    source = write(tmp_path / "rows.jsonl", rows)
    this = commands.taken_run(model, str(source), {}, tmp_path, in_json=True)
    summary = this.summary(EVALUATION)
    assert summary.metrics == [*METRICS, "Spearman"]
    assert {figure.value for figure in summary.models["model"]["all"].values()} == {1.0}
    pairs = [(row["query"], row["passage"]) for row in rows[:10]]
    wanted = CrossEncoder(str(model), device="cpu").predict(pairs).tolist()
    assert [
        answer.prediction for answer in open_to_try(this.folder).predict(*zip(*pairs, strict=True))
    ] == pytest.approx(wanted, abs=1e-5)
    again = CrossEncoder(str(this.path_of("model")), device="cpu")
    assert again.predict(pairs).tolist() == pytest.approx(wanted, abs=1e-6)


def test_passages_of_other_rows_are_the_negatives_of_queries_with_one(model: Path, tmp_path: Path):
    rows = str(write(tmp_path / "rows.jsonl", small.answers(150)))
    fields = {"data.negatives.per_query": 4, "data.negatives.by": "words"}
    this = commands.taken_run(model, rows, fields, tmp_path, in_json=True)
    test = list(load_data(this).splits["test"])
    queries = samples(test)
    assert {len(query["negative"]) for query in queries} == {4}
    answer = {query["query"]: {*query["positive"]} for query in queries}
    for query in queries:
        assert not {*query["negative"]} & answer[query["query"]]
    begun = [text.split()[0] == query["query"].split()[0] for query in queries for text in query["negative"]]
    assert sum(begun) > 0.02 * len(begun)  # of those at random one in ninety begins as the query does
    assert this.summary(EVALUATION).metrics == METRICS


def test_what_of_the_scores_is_learnt_is_what_the_recipe_says(run: Run, tmp_path: Path):
    fields = run.recipe.model_dump(mode="json")
    fields["student"]["training"] |= {"epochs": 1}
    first = {}
    for kind in ("margins", "distances", "lists"):
        fields["student"]["distillation"] |= {"ranking": kind, "alpha": 0}
        this = Run(run.folder, load_recipe(None, fields))
        distil(this, tmp_path / kind, tmp_path / f"{kind}-scratch")
        state = next((tmp_path / f"{kind}-scratch").rglob("trainer_state.json"))
        first[kind] = [
            entry["loss"] for entry in json.loads(state.read_text("utf-8"))["log_history"] if "loss" in entry
        ]
    assert len({losses[0] for losses in first.values()}) == 3


def test_scores_in_a_file_take_the_place_of_a_teacher(tmp_path: Path):
    rows = list(small.rows(120))
    scores = [{**row, "score": 4.0 * row["label"] - len(row["passage"]) / 100} for row in rows]
    file = write(tmp_path / "scores.jsonl", scores[:-5])
    recipe = tiny_recipe(write(tmp_path / "rows.jsonl", rows))
    recipe["teacher"] = {"predictions": str(file), "scratch": recipe["teacher"]["scratch"]}
    recipe["student"]["training"] |= {"epochs": 1}
    this = open_run(load_recipe(None, {**recipe, "task": "reranking"}), tmp_path / "runs")
    commands.distill(this, in_json=True)
    learnt = load_data(this).splits["train"]
    wanted = {(row["query"], row["passage"]): row["score"] for row in scores}
    known = [wanted[row.text, row.text_pair] for row in learnt][: -5 if this.summary(PREDICTIONS).missing else None]
    assert load_cache(this).logits()[: len(known), 0] == pytest.approx(known, abs=1e-5)
    summary = this.summary(EVALUATION)
    assert summary.models["teacher"]["all"]["nDCG@10"].value == 1
    assert summary.student_against_teacher.metric == "nDCG@10"


@pytest.mark.parametrize(
    ("outputs", "changes", "problem"),
    [
        (3, {"task": "reranking"}, "its head has 3 outputs, a reranker's score is one; name another"),
        (1, {"data.negatives.per_query": 500}, "data.negatives.per_query: 500 are asked for, "),
        (1, {"data.negatives.per_query": 0}, "no query in de, en, ja has a relevant passage and another; give each"),
        (1, {"data.prompts": {"query": "q: "}}, "data.prompts is for embedding, the task is reranking"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(outputs: int, changes: dict, problem: str, tmp_path: Path):
    model = small.write_cross_encoder(tmp_path / "theirs", outputs)
    labels = {"label": 1} if "data.negatives.per_query" in changes else {}
    rows = write(tmp_path / "rows.jsonl", ({**row, **labels} for row in small.answers(150)))
    with pytest.raises(CompressError, match=problem):
        commands.taken_run(model, str(rows), changes, tmp_path, in_json=True)


def test_a_folder_of_another_kind_is_refused_in_a_line(tmp_path: Path):
    rows = str(write(tmp_path / "rows.jsonl", small.rows(60)))
    odd = small.write_cross_encoder(tmp_path / "odd", activation_fn=nn.Tanh())
    with pytest.raises(CompressError, match=r"its activation is torch.*Tanh; rerankers have Sigmoid or Identity"):
        commands.taken_run(odd, rows, {}, tmp_path, in_json=True)
    asking = small.write_cross_encoder(tmp_path / "asking", prompts={"q": "query: "}, default_prompt_name="q")
    with pytest.raises(CompressError, match="puts the prompt 'q' before queries; take default_prompt_name out"):
        commands.taken_run(asking, rows, {}, tmp_path, in_json=True)
    vectors = small_sentence_models.write_sentence_model(tmp_path / "vectors")
    with pytest.raises(CompressError, match="reranker here is a transformer beside it, with a head of one output"):
        commands.taken_run(vectors, rows, {"task": "reranking"}, tmp_path, in_json=True)


def test_a_model_that_gives_vectors_may_be_trained_to_rank(tmp_path: Path):
    vectors = small_sentence_models.write_sentence_model(
        tmp_path / "vectors", prompts=small_sentence_models.PROMPTS, default_prompt_name="query"
    )
    model, _ = load_teacher(task_named("reranking"), Teacher(model=str(vectors)), [], 32)
    assert model.config.num_labels == 1
    assert activation_of(model.config) == "sigmoid"
    again = small.write_cross_encoder(tmp_path / "theirs", activation_fn=nn.Identity())
    model, _ = load_teacher(task_named("reranking"), Teacher(model=str(again)), [], 32)
    assert activation_of(model.config) == "identity"
