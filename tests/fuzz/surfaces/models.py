"""Model folders with their tokenizers, taken as a teacher as they are."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_folder
from safetensors.numpy import load_file, save_file

from compress.data.stage import load_data, run_data_stage
from compress.recipe.file import load_recipe
from compress.runs.directory import open_run
from compress.runtimes.generation import Search
from compress.runtimes.predict import check_outputs, load_predict, predict_examples
from compress.teacher.stage import run_teacher_stage

WEIGHTS, TOKENIZER, CONFIG = "model.safetensors", "tokenizer.json", "config.json"
Tensors = dict[str, np.ndarray]


def ask(folder: Path, data: Path) -> None:
    """Take the model as the teacher, and see that it is what the files say and answers in numbers."""
    model = folder / "model"
    fields = {"name": "fuzzed", "data.source": str(data), "teacher.model": str(model), "teacher.fine_tune": False}
    run = open_run(load_recipe(None, {**fields, "data.max_length": 32}), folder / "runs")
    run_data_stage(run)
    run_teacher_stage(run)
    taken = run.path_of("teacher")
    given = {name: array for path in model.glob("*.safetensors") for name, array in load_file(path).items()}
    for name, array in load_file(taken / WEIGHTS).items():
        if name not in given or not np.array_equal(given[name].astype(array.dtype), array):
            raise WrongAnswer(f"the weights '{name}' are not those of the files")
    from compress.models.load import load_tokenizer

    rows, tokenizer = load_data(run).splits["test"][:20], load_tokenizer(str(taken))
    labels = load_data(run).labels
    examples = run.task.encoder(tokenizer, run.recipe.data, labels)(list(rows))
    predict = load_predict(taken, run.task, Search(1, 1.0, 32), 1)
    outputs = predict_examples(predict, run.task, examples, tokenizer.pad_token_id)
    check_outputs(str(model), outputs, "as the evaluation says")
    if {output.shape for output in outputs} != {(len(labels),)}:
        raise WrongAnswer(f"its outputs are {outputs!s:.200}")


def _config(name: str = CONFIG, **changes: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        content = {**json.loads((model / name).read_text("utf-8")), **changes}
        kept = {key: value for key, value in content.items() if value is not ...}
        (model / name).write_text(json.dumps(kept), "utf-8")

    return change


def _weights(change: Callable[[Tensors], Tensors]) -> Callable[[Path], None]:
    def changed(model: Path) -> None:
        save_file(change(load_file(model / WEIGHTS)), model / WEIGHTS, metadata={"format": "pt"})

    return changed


def _without(*words: str) -> Callable[[Path], None]:
    return _weights(
        lambda found: {key: array for key, array in found.items() if not any(word in key for word in words)}
    )


def _written(name: str, content: bytes) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        (model / name).write_bytes(content)

    return write


def _gone(*names: str) -> Callable[[Path], None]:
    def remove(model: Path) -> None:
        for name in names:
            (model / name).unlink()

    return remove


def _one_not_a_number(found: Tensors) -> Tensors:
    array = next(iter(found.values())).copy()
    array.flat[0] = np.nan
    return {**found, next(iter(found)): array}


def _scattered_labels(model: Path) -> None:
    names = json.loads((model / CONFIG).read_text("utf-8"))["id2label"].values()
    _config(id2label={str(3 * number): name for number, name in enumerate(names)})(model)


def _code(model: Path) -> None:
    (model / "own.py").write_text("raise SystemExit('code of a model was run')\n", "utf-8")
    classes = dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification", "AutoTokenizer"), "own.Own")
    _config(model_type="own", auto_map=classes)(model)


def _twice_repeated(pattern: str) -> dict[str, Any]:
    step = {"type": "Replace", "pattern": {"String": pattern}, "content": pattern * 1000}
    return {"type": "Sequence", "normalizers": [step] * 6}


_TEXTS = [{"Sequence": {"id": name, "type_id": 0}} for name in "AB"]
_UNTOLD_TOKEN = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[NEW]", "type_id": 0}}, _TEXTS[0]],
    "pair": _TEXTS,
    "special_tokens": {},
}
"""Puts a token before a text alone whose number it does not tell."""
CASES: dict[str, tuple[Callable[[Path], None], Wants]] = {
    "unaltered": (lambda model: None, "accepted"),
    "without a head": (_without("classifier"), "refused"),
    "without its embeddings": (_without("embeddings"), "refused"),
    "without a layer": (_without("layers.1."), "refused"),
    "without anything but its head": (
        _weights(lambda found: {k: a for k, a in found.items() if "classifier" in k}),
        "refused",
    ),
    "with names of weights that nobody knows": (
        _weights(lambda found: {f"x.{k}": a for k, a in found.items()}),
        "refused",
    ),
    "with a weight that is no number": (_weights(_one_not_a_number), "refused"),
    "with infinite weights": (_weights(lambda found: {k: a * np.inf for k, a in found.items()}), "refused"),
    "with weights that are too large": (_weights(lambda found: {k: a * 1e30 for k, a in found.items()}), "refused"),
    "with weights in integers": (_weights(lambda found: {k: a.astype(np.int32) for k, a in found.items()}), "refused"),
    "with a header of 2^63 bytes": (_written(WEIGHTS, b"\xff" * 7 + b"\x7f{}"), "refused"),
    "with a header that is no JSON": (_written(WEIGHTS, (5).to_bytes(8, "little") + b"hello"), "refused"),
    "with pickled weights alone": (
        lambda model: (model / WEIGHTS).rename(model / "pytorch_model.bin") and None,
        "refused",
    ),
    "with weights of another name": (
        lambda model: (model / WEIGHTS).rename(model / "x.safetensors") and None,
        "refused",
    ),
    "with weights that are cut off": (lambda model: os.truncate(model / WEIGHTS, 1000), "refused"),
    "with an adapter": (_written("adapter_config.json", b"{}"), "refused"),
    "with code of its own": (_code, "refused"),
    "with a configuration of deep nesting": (_written(CONFIG, DEEP.encode()), "refused"),
    "with an empty configuration": (_written(CONFIG, b"{}"), "refused"),
    "with a list for a configuration": (_written(CONFIG, b"[]"), "refused"),
    "of a kind that nobody knows": (_config(model_type="nonesuch"), "refused"),
    "of a number for a kind": (_config(model_type=5), "refused"),
    "of a kind without classifiers": (_config(model_type="clip"), "refused"),
    "of several labels": (_config(problem_type="multi_label_classification"), "refused"),
    "of a trillion tokens": (_config(vocab_size=10**12), "refused"),
    "of fewer tokens": (_config(vocab_size=50), "refused"),
    "of no heads": (_config(num_attention_heads=0), "refused"),
    "of minus one layers": (_config(num_hidden_layers=-1), "refused"),
    "of more layers": (_config(num_hidden_layers=9, layer_types=["full_attention"] * 9), "refused"),
    "of text for a width": (_config(hidden_size="x"), "refused"),
    "of ten positions": (_config(max_position_embeddings=10), "refused"),
    "of labels with gaps": (_scattered_labels, "refused"),
    "of other labels": (_config(id2label={"0": "a", "1": "b", "2": "c"}), "refused"),
    "of labels in a list": (_config(id2label=["a", "b"]), "refused"),
    "of labels that are no text": (_config(id2label={"0": {}, "1": []}), "refused"),
    "without a tokenizer": (_gone(TOKENIZER, "tokenizer_config.json"), "refused"),
    "with an empty tokenizer": (_written(TOKENIZER, b"{}"), "refused"),
    "with a tokenizer of deep nesting": (_written(TOKENIZER, DEEP.encode()), "refused"),
    "with a padding token that is a number": (_config("tokenizer_config.json", pad_token=5), "refused"),
    "with a padding token that has no embedding": (_config("tokenizer_config.json", pad_token="[NEW]"), "refused"),
    "with a tokenizer that panics": (
        _config(TOKENIZER, normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}),
        "refused",
    ),
    "with a tokenizer that panics over a text alone": (_config(TOKENIZER, post_processor=_UNTOLD_TOKEN), "refused"),
    "with a tokenizer that eats memory": (_config(TOKENIZER, normalizer=_twice_repeated("1")), "refused"),
}


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], None]) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(material.model, folder / "model")
            alter(folder / "model")

        return spoil

    def in_place_of(name: str, put: Callable[[Path], None]) -> Spoil:
        return case(lambda model: put(model / name))

    cases: dict[str, tuple[Spoil, Wants]] = {name: (case(alter), wants) for name, (alter, wants) in CASES.items()}
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        cases |= {
            f"in place of {name}: {words}": (in_place_of(name, put), "refused") for words, put in REPLACEMENTS.items()
        }

    def draw(random_: random.Random, folder: Path) -> str:
        return altered_folder(random_, folder / "model", material.model, random_.choice((1, 1, 1, 2)))

    data = material.root / "data"
    return Surface("models", lambda folder: ask(folder, data), cases, draw, draws=500, places=("teacher.", "data."))
