"""One small run of each task for other people's clients: `python tests/interop/make_runs.py FOLDER`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
import small_rerankers
import small_sentence_models
import task_rows
from tiny_runs import TASKS, Fields, recipe_for, tiny_recipe

from compress import load
from compress.runtimes.onnx import onnx_session
from compress.serving.opened import open_to_try

_CLASSIFIER = "text-classification"
_SEVERAL_LAYERS = {"translation": {"student.decoder_layers": 2}}
"""More layers than one: the order of their keys and values is seen."""
_OPENVINO = {"export.variants": ["onnx-fused", "onnx-int8", "openvino-int8"]}
_PACKED = ("onnx", "onnx-int8")
_WEIGHTS_BESIDE = """
import export.onnx.weights
export.onnx.weights.SINGLE_FILE_LIMIT = 1000
from compress.cli.app import main
main()
"""
"""The command, whose graphs have their weights beside them however small they are."""


def main(output: Path) -> None:
    """Distil, export and bundle each task; the runs are named after them."""
    for task in TASKS:
        recipe, fields = recipe_for(task, output / "rows" / task)
        path = output / f"{task}.yaml"
        path.write_text(yaml.safe_dump({**recipe, "name": task}), "utf-8")
        settings = [
            word
            for name, value in (fields | _OPENVINO | _SEVERAL_LAYERS.get(task, {})).items()
            for word in ("--set", f"{name}={json.dumps(value)}")
        ]
        command = [sys.executable, "-m", "compress"]
        subprocess.run([*command, "distill", str(path), *settings, "--output", str(output)], check=True)
        subprocess.run([*command, "export", str(output / task), "--output", str(output)], check=True)
        accepted = ["--accept", "onnx", "--accept", "onnx-int8"]  # measuring them would tell nothing here
        subprocess.run([*command, "bundle", str(output / task), *accepted, "--output", str(output)], check=True)
    classify_single_texts(output)
    say_otherwise(output)
    take_as_it_is(output)
    write_old_opset(output)
    trim(output)
    make_static(output)
    give_vectors(output)
    rank(output)


def classify_single_texts(output: Path) -> None:
    """Make the variants that browsers run, of a student that reads texts in many scripts."""
    recipe = {**tiny_recipe("cldr"), "name": "single-texts"}
    recipe["data"] |= {"languages": ["ar", "de", "hi", "ko", "ru", "zh"]}
    recipe["export"] |= {"target": "web", "variants": ["onnx-int8", "onnx-fp16", "onnx-int4"]}
    _export(output, recipe)


def say_otherwise(output: Path) -> None:
    """Make a student that gives texts several labels or none, and one that gives them numbers."""
    kinds = {
        "several-labels": (task_rows.kinds, "multi-label-classification"),
        "numbers": (task_rows.lengths, "regression"),
    }
    for name, (rows, task) in kinds.items():
        recipe = {**tiny_recipe(task_rows.write(output / "rows" / name, rows, 600)), "name": name, "task": task}
        recipe["teacher"]["scratch"] |= {"layers": 2, "pretraining": None}
        recipe["export"] |= {"variants": ["onnx-int8"]}
        recipe["export"]["parity"]["int8"] = {"max_difference": 6.0, "agreement": 0.5}
        _export(output, {**recipe, "evaluation": {"baseline": False}})


def _export(output: Path, recipe: Fields) -> None:
    path, command = output / f"{recipe['name']}.yaml", [sys.executable, "-m", "compress"]
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    subprocess.run([*command, "distill", str(path), "--output", str(output)], check=True)
    subprocess.run([*command, "export", str(output / str(recipe["name"])), "--output", str(output)], check=True)


def give_vectors(output: Path) -> None:
    """Pack a model that gives vectors as it is, and write down what it says of some texts."""
    rows = output / "rows/embedding"
    rows.mkdir(parents=True)
    pairs = small_sentence_models.write_rows(rows / "pairs.jsonl", small_sentence_models.pairs(120))
    prompts, poolings = small_sentence_models.PROMPTS, ("cls", "mean")
    model = small_sentence_models.write_sentence_model(rows / "theirs", poolings, dense=24, prompts=prompts)
    fields = ("data.fields.text_pair=text_pair", "export.variants=[onnx-int8, openvino-int8]")
    _pack(output, "embedding", model, pairs, *(word for field in fields for word in ("--set", field)))
    texts = [row["text"] for row in small_sentence_models.texts(40)] + ["w1 w2 " * 30]
    vectors = {
        variant: {kind: load(output / "embedding/bundle", variant).encode(texts, kind).tolist() for kind in prompts}
        for variant in _PACKED
    }
    (output / "embedding.json").write_text(json.dumps({"texts": texts, "vectors": vectors}), "utf-8")
    own = open_to_try(output / "embedding", "openvino-int8")
    told = [
        {"tokens": text.examples[0]["input_ids"], "vector": own.encode([text.row.text])[0].tolist()}
        for text in own.read(texts)
    ]
    (output / "embedding-openvino.json").write_text(json.dumps(told), "utf-8")


def rank(output: Path) -> None:
    """Pack a reranker as it is, and write down how it ranks some passages."""
    rows = output / "rows/reranking"
    rows.mkdir(parents=True)
    model = small_rerankers.write_cross_encoder(rows / "theirs")
    found = list(small_rerankers.rows(40))
    (rows / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    loose = "export.parity.int8={max_difference: 6.0, agreement: 0.5}"  # passages of random weights are alike
    _pack(output, "reranking", model, rows / "rows.jsonl", "--set", loose)
    query, passages = found[0]["query"], [row["passage"] for row in found[:39]] + ["w1 w2 " * 30]
    scores = {}
    for variant in _PACKED:
        ranked = load(output / "reranking/bundle", variant).rank(query, passages)
        scores[variant] = [one.score for one in sorted(ranked, key=lambda one: one.place)]
    told = {"query": query, "passages": passages, "scores": scores}
    (output / "reranking.json").write_text(json.dumps(told), "utf-8")


def _pack(output: Path, name: str, model: Path, rows: Path, *settings: str) -> None:
    command, variants = [sys.executable, "-m", "compress"], ["--set", "export.variants=[onnx-int8]"]
    named = ["--data", str(rows), "--name", name, *variants, *settings, "--output", str(output)]
    subprocess.run([*command, "export", str(model), *named], check=True)
    accepted = [word for variant in _PACKED for word in ("--accept", variant)]
    subprocess.run([*command, "bundle", str(output / name), *accepted, "--output", str(output)], check=True)


def make_static(output: Path) -> None:
    """Distil a static student of a model that gives vectors, and write down what it says of some texts."""
    rows = output / "rows/static"
    rows.mkdir(parents=True)
    recipe = {
        "name": "static",
        "task": "embedding",
        "data": {
            "source": str(small_sentence_models.write_rows(rows / "pairs.jsonl", small_sentence_models.pairs(300)))
        },
        "teacher": {"model": str(small_sentence_models.write_sentence_model(rows / "theirs")), "fine_tune": False},
        "student": {"kind": "static", "hidden_size": 32, "training": {"epochs": 1}},
    }
    recipe["data"] |= {"fields": {"text_pair": "text_pair"}, "max_length": 32}
    path = output / "static.yaml"
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    subprocess.run([sys.executable, "-m", "compress", "distill", str(path), "--output", str(output)], check=True)
    texts = [row["text"] for row in small_sentence_models.texts(60)]
    vectors = open_to_try(output / "static", "student").encode(texts).tolist()
    (output / "static-vectors.json").write_text(json.dumps({"texts": texts, "vectors": vectors}), "utf-8")


def take_as_it_is(output: Path) -> None:
    """Export the teacher of a run as anybody's model, of rows without labels, with its weights beside the graphs."""
    rows = [json.loads(line) for line in (output / _CLASSIFIER / "data/test.jsonl").read_text("utf-8").splitlines()]
    texts = output / "rows/unlabelled.jsonl"
    texts.write_text(
        "".join(json.dumps({name: row[name] for name in ("text", "text_pair", "lang")}) + "\n" for row in rows), "utf-8"
    )
    settings = ["--set", "data.fields.text_pair=text_pair", "--set", "export.variants=[onnx-fused, onnx-int8]"]
    command = [sys.executable, "-c", _WEIGHTS_BESIDE, "export", str(output / _CLASSIFIER / "teacher")]
    named = ["--data", str(texts), "--name", "as-is", *settings, "--output", str(output)]
    subprocess.run([*command, *named], check=True)
    accepted = ["--accept", "onnx", "--accept", "onnx-int8"]
    bundle = [sys.executable, "-c", _WEIGHTS_BESIDE, "bundle", str(output / "as-is")]
    subprocess.run([*bundle, *accepted, "--output", str(output)], check=True)


def write_old_opset(output: Path) -> None:
    """Export the same teacher in the oldest opset, and write down what it gives."""
    words = ["--data", str(output / "rows/unlabelled.jsonl"), "--name", "old-opset", "--output", str(output)]
    fields = ("data.fields.text_pair=text_pair", "export.opset=18", "export.variants=[onnx-int8, onnx-static]")
    settings = [word for field in fields for word in ("--set", field)]
    model = str(output / _CLASSIFIER / "teacher")
    subprocess.run([sys.executable, "-m", "compress", "export", model, *words, *settings], check=True)
    tokens = np.random.default_rng(0).integers(5, 100, (4, 20))
    feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
    feed["attention_mask"][1, 12:] = 0
    logits = {}
    for name in ("onnx", "onnx-fused", "onnx-int8", "onnx-static"):
        session = onnx_session(output / "old-opset" / name / "model.onnx")
        taken = {value.name: feed.get(value.name, np.zeros_like(tokens)).tolist() for value in session.get_inputs()}
        found = session.run(["logits"], {given: np.array(rows) for given, rows in taken.items()})[0]
        logits[name] = {"inputs": taken, "logits": found.tolist()}
    (output / "old-opset.json").write_text(json.dumps(logits), "utf-8")


def trim(output: Path) -> None:
    """Trim the same teacher to the tokens of one language's rows."""
    rows = [json.loads(line) for line in (output / _CLASSIFIER / "data/test.jsonl").read_text("utf-8").splitlines()]
    german = [text for row in rows if row["lang"] == "de" for text in (row["text"], row["text_pair"])]
    (output / "rows/de.txt").write_text("\n".join(german), "utf-8")
    words = ["--text", str(output / "rows/de.txt"), "--output", str(output / "trimmed")]
    subprocess.run(
        [sys.executable, "-m", "compress", "trim", str(output / _CLASSIFIER / "teacher"), *words], check=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
