"""Models that give vectors along the whole road, as they are: ONNX, int8, bench, bundle, client; and refusals."""

from __future__ import annotations

import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small_sentence_models as small
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator, TranslationEvaluator

from bench.stage import run_bench_stage
from compress import load
from compress.cli import commands
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.metrics.vectors import cosines
from compress.runs.directory import Run, find_run
from compress.serving.opened import open_to_try
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.onnx.graphs import depends_on_batch
from export.variants.summary import variant_stage

TEXTS = [row["text"] for row in small.texts(40)]
QUICK = {"bench.rows": 12, "bench.rounds": 1, "bench.starts": 1, "bench.threads": 1, "bench.lengths": [16]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With prompts and a layer behind two poolings."""
    folder = tmp_path_factory.mktemp("model") / "theirs"
    return small.write_sentence_model(folder, ("cls", "mean"), dense=24, prompts=small.PROMPTS)


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Exported with rows in pairs, measured and packed."""
    root = tmp_path_factory.mktemp("runs")
    rows = small.write_rows(root / "pairs.jsonl", small.pairs(120))
    fields = {"data.fields.text_pair": "text_pair", "data.fields.parallel": "group", "export.variants": ["onnx-int8"]}
    this = commands.taken_run(model, str(rows), {**fields, **QUICK}, root, in_json=True)
    commands.export(this, in_json=True)
    report = run_bench_stage(this, (), load=False)
    run_bundle_stage(this, Wanted(("onnx", "onnx-int8"), ()), report)
    return find_run(this.folder, root)


def test_a_folder_of_sentence_transformers_tells_what_it_is_for_and_is_followed_in_all(model: Path, run: Run):
    assert (run.recipe.task, run.recipe.data.prompts, run.recipe.data.max_length) == ("embedding", small.PROMPTS, 32)
    theirs = SentenceTransformer(str(model), device="cpu")
    wanted = theirs.encode(TEXTS, prompt_name="query")
    for variant in ("model", "onnx"):
        found = open_to_try(run.folder, variant).encode(TEXTS, kind="query")
        assert found == pytest.approx(wanted, abs=1e-5)


def test_the_run_s_folder_opens_in_sentence_transformers(model: Path, run: Run):
    ours, theirs = (SentenceTransformer(str(path), device="cpu") for path in (run.path_of("model"), model))
    assert ours.prompts["passage"] == "passage: "
    assert ours.max_seq_length == 32
    assert ours.encode(TEXTS) == pytest.approx(theirs.encode(TEXTS), abs=1e-6)


@pytest.mark.parametrize("folder", ["onnx-int8", "bundle/models/cpu/onnx-int8/1"])
def test_a_variant_s_folder_has_what_other_people_s_libraries_look_for(run: Run, folder: str):
    path = run.folder / folder

    def told(name: str) -> Any:
        return json.loads((path / name).read_text("utf-8"))

    listed = [module["path"] for module in told("modules.json")]
    assert listed == ["", "1_Pooling", "2_Dense", "3_Normalize"]
    assert (path / "2_Dense/model.safetensors").is_file()
    assert all((path / place / "config.json").is_file() for place in listed)
    assert told("config_sentence_transformers.json")["prompts"] == small.PROMPTS
    # What the loader of Text Embeddings Inference takes for granted:
    config, pooling = told("config.json"), told("1_Pooling/config.json")
    assert config["architectures"] == ["BertModel"]
    assert {"model_type", "max_position_embeddings", "pad_token_id", "hidden_size", "num_hidden_layers"} <= {*config}
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    assert [pooling[f"pooling_mode_{mode}"] for mode in modes] == [True, True, False, False]
    assert (
        told("sentence_bert_config.json")["max_seq_length"] == told("tokenizer_config.json")["model_max_length"] == 32
    )
    outputs = onnx.load(path / "model.onnx").graph.output
    assert [value.name for value in outputs] == ["sentence_embedding", "last_hidden_state"]


def test_queries_find_passages_within_a_language_and_across(run: Run):
    found = run.summary(EVALUATION)
    within = ["nDCG@10", "recall@10", "MRR@10"]
    assert found.metrics == [*within, *(f"{name} across" for name in within)]
    figures = found.models["model"]["all"]
    assert 0 < figures["MRR@10"].value <= figures["nDCG@10"].value <= figures["recall@10"].value <= 1
    bench = json.loads((run.folder / "bench/report.json").read_text("utf-8"))
    assert bench["models"]["onnx"]["quality"]["all"] == bench["models"]["model"]["quality"]["all"]
    assert bench["models"]["onnx-int8"]["against"]["model"]["metric"] == "nDCG@10"


def test_variants_are_compared_by_the_cosines_of_vectors(run: Run):
    plain, rounded = (run.summary(variant_stage(name)).parity for name in ("onnx", "onnx-int8"))
    assert plain.cosine == pytest.approx(1, abs=1e-6)
    assert 0.95 < rounded.cosine < plain.cosine
    assert rounded.max_difference == pytest.approx(1 - rounded.cosine)


@pytest.mark.parametrize("variant", ["onnx", "onnx-int8"])
def test_a_text_s_vector_is_the_same_alone_and_among_31_others_of_any_length(run: Run, variant: str):
    served = open_to_try(run.folder, variant)
    together = served.encode([*TEXTS[:31], "w1 " * 30])
    alone = np.concatenate([served.encode([text]) for text in TEXTS[:31]])
    assert cosines(together[:31], alone).min() > 0.9999
    assert not depends_on_batch(run.path_of(variant) / "model.onnx")


def test_a_bundle_encodes_with_its_prompts_and_so_does_its_client(run: Run):
    bundle = run.folder / "bundle"
    assert verify(bundle).passed
    served, client = load(bundle, "onnx"), runpy.run_path(str(bundle / "client.py"))["encode"]
    for kind in ("query", "passage", None):
        assert client(TEXTS, kind) == pytest.approx(served.encode(TEXTS, kind), abs=1e-5)
    asked = served.encode(TEXTS, "query")
    assert cosines(asked, served.encode(TEXTS, "passage")).max() < 0.9999
    asked_as_passage = served.encode(TEXTS[1:2], "passage")
    assert served.encode(TEXTS[:2], ["query", "passage"])[1] == pytest.approx(asked_as_passage[0], abs=1e-6)
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: served.encode(TEXTS, "query"), range(8)):
            assert np.array_equal(again, asked)
    with pytest.raises(CompressError, match="kind 'title': there is no such prompt; there is passage, query"):
        served.encode(["a"], "title")
    card = (bundle / "README.md").read_text("utf-8")
    assert 'load("bundle").encode(["a text"], kind="query")' in card
    assert "EMBEDDING" in next(bundle.glob("models/*/onnx/configs/text.pbtxt")).read_text("utf-8")


def test_texts_alone_are_held_against_the_model_s_own_vectors_and_an_encoder_needs_its_pooling_named(tmp_path: Path):
    encoder = small.write_encoder(tmp_path / "encoder")
    rows = str(small.write_rows(tmp_path / "texts.jsonl", small.texts(120)))
    fields = {"task": "embedding", "export.variants": ["onnx-int8"]}
    with pytest.raises(CompressError, match=r"it has no modules.json .*: teacher.pooling: mean, first"):
        commands.taken_run(encoder, rows, fields, tmp_path, in_json=True)
    fields |= {"teacher.pooling": "first", "teacher.embedding.dimensions": 16, "name": "cut"}
    this = commands.taken_run(encoder, rows, fields, tmp_path, in_json=True)
    assert this.summary(EVALUATION).models["model"]["all"]["cosine"].value == 1
    commands.export(this, in_json=True)
    vectors = open_to_try(this.folder, "onnx").encode(TEXTS)
    assert vectors.shape == (40, 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    whole = SentenceTransformer(str(this.path_of("model")), device="cpu").encode(TEXTS)
    assert vectors == pytest.approx(whole, abs=1e-5)
    (row, *_) = load_data(this).splits["test"]
    assert len(row.label) == 16
    (answer,) = open_to_try(this.folder, "onnx").predict([row.text])
    assert answer.prediction == pytest.approx(row.label, abs=1e-5)


def test_prompts_length_and_comparing_may_be_the_recipe_s(model: Path, tmp_path: Path):
    rows = str(small.write_rows(tmp_path / "texts.jsonl", small.texts(60)))
    fields = {
        "data.prompts": {"title": "w1 w2 "},
        "data.default_prompt": "title",
        "teacher.embedding.normalize": False,
        "teacher.embedding.similarity": "dot",
    }
    this = commands.taken_run(model, rows, fields, tmp_path, in_json=True)
    found = SentenceTransformer(str(this.path_of("model")), device="cpu")
    assert (found.prompts["title"], found.default_prompt_name, found.similarity_fn_name) == ("w1 w2 ", "title", "dot")
    vectors = open_to_try(this.folder).encode(TEXTS)
    assert vectors == pytest.approx(found.encode(TEXTS), abs=1e-5)
    assert vectors == pytest.approx(found.encode([f"w1 w2 {text}" for text in TEXTS], prompt=""), abs=1e-5)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() > 0.1


def test_figures_are_those_of_sentence_transformers_own_evaluators(model: Path, run: Run, tmp_path: Path):
    theirs = SentenceTransformer(str(model), device="cpu")
    rows = [row for row in load_data(run).splits["test"] if row.lang == "de"]
    relevant: dict[str, set[str]] = {}
    for row in rows:
        relevant.setdefault(row.text, set()).add(row.text_pair)
    texts = {text: text for row in rows for text in (row.text, row.text_pair)}
    corpus = {row.text_pair: row.text_pair for row in rows}
    told = InformationRetrievalEvaluator(
        {text: text for text in relevant}, corpus, relevant, mrr_at_k=[10], ndcg_at_k=[10],
        precision_recall_at_k=[10], accuracy_at_k=[10], map_at_k=[10], write_csv=False,
        query_prompt_name="query", corpus_prompt_name="passage", batch_size=16,
    )(theirs)  # fmt: skip
    assert len(relevant) == len(rows) < len(texts)
    figures = run.summary(EVALUATION).models["model"]["de"]
    for ours, name in (("nDCG@10", "cosine_ndcg@10"), ("MRR@10", "cosine_mrr@10"), ("recall@10", "cosine_recall@10")):
        assert figures[ours].value == pytest.approx(told[name], abs=1e-4)
    lines = [dict(row) for row in small.pairs(120)]
    parallel = [{"text": row["text"], "lang": "en", "group": str(number)} for number, row in enumerate(lines)]
    parallel += [{"text": row["text_pair"], "lang": "de", "group": str(number)} for number, row in enumerate(lines)]
    source = small.write_rows(tmp_path / "parallel.jsonl", iter(parallel))
    this = commands.taken_run(model, str(source), {"data.fields.parallel": "group"}, tmp_path, in_json=True)
    test = {(row.lang, row.parallel): row.text for row in load_data(this).splits["test"]}
    groups = sorted(group for lang, group in test if lang == "en")
    sides = ([test[lang, group] for group in groups] for lang in ("en", "de"))
    found = TranslationEvaluator(*sides, batch_size=16, write_csv=False)(theirs)
    figures = this.summary(EVALUATION).models["model"]
    assert figures["en"]["translation accuracy"].value == pytest.approx(found["src2trg_accuracy"], abs=1e-4)
    assert figures["de"]["translation accuracy"].value == pytest.approx(found["trg2src_accuracy"], abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"teacher.pooling": "mean"}, "teacher.pooling: .* says it in its modules.json; leave it out"),
        ({"teacher.embedding.dimensions": 25}, "teacher.embedding.dimensions: 25 are more than the 24 of"),
        ({"data.fields.label": "score"}, "data.fields.label says how alike the two texts of a pair are"),
        ({"data.max_length": 48}, "data.max_length: 48 tokens are more than the 32 that"),
        ({"data.default_prompt": "title"}, "default_prompt: there is no prompt title; there is none"),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_a_line(model: Path, tmp_path: Path, changes: dict, problem: str):
    rows = str(small.write_rows(tmp_path / "texts.jsonl", small.texts(40)))
    with pytest.raises(CompressError, match=problem):
        commands.taken_run(model, rows, changes, tmp_path, in_json=True)
