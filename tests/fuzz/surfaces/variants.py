"""Models of the user's own that are to be measured beside a run's (``compress bench --variant``)."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from attempts import Spoil, Surface, Wants
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_folder

from bench.measure.contenders import user_contenders
from bench.measure.machine import Machine
from bench.measure.protocol import SizeBatch
from bench.measure.sizes import size_on_disk
from bench.measure.trial import try_contenders
from bench.measure.workers import Measurement
from compress.data.stage import load_data
from compress.runs.directory import find_run


def ask(folder: Path, material: Material) -> None:
    """Name the model, and do with it what a measurement does besides running it."""
    run = find_run(material.run, material.run.parent)
    data = load_data(run)
    named = user_contenders([f"fuzzed={folder / 'model'}"], run, data.labels)
    try_contenders(named, run.recipe, run.path_of("data") / "test.jsonl")
    (folder / "scratch").mkdir()
    rows = list(data.splits["test"])
    measurement = Measurement(run.recipe, rows, Machine.with_threads(1), folder / "scratch", SizeBatch(1, 8))
    measurement.setup(named[0])
    size_on_disk(named[0].model, named[0].tokenizer)


def _written(name: str, text: str) -> Callable[[Path], object]:
    return lambda model: (model / name).write_text(text, "utf-8")


def _tokenizer(**changes: object) -> Callable[[Path], object]:
    def change(model: Path) -> None:
        path = model / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")

    return change


CASES: dict[str, tuple[Callable[[Path], object], Wants]] = {
    "unaltered": (lambda model: None, "accepted"),
    "with a configuration of deep nesting": (_written("config.json", DEEP), "refused"),
    "with a list for a configuration": (_written("config.json", "[]"), "refused"),
    "with labels in a list": (_written("config.json", '{"id2label": ["a"]}'), "refused"),
    "with labels that are not numbered": (_written("config.json", '{"id2label": {"a": "b"}}'), "refused"),
    "with a graph that is none": (_written("model.onnx", "hello"), "refused"),
    "with a tokenizer that panics": (
        _tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAAAAAA"}),
        "refused",
    ),
    "with a tokenizer that eats memory": (
        _tokenizer(
            normalizer={
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "1"}, "content": "1" * 1000}] * 6,
            }
        ),
        "refused",
    ),
    **{f"in place of the graph: {words}": (lambda model, put=put: put(model / "model.onnx"), "refused")
       for words, put in REPLACEMENTS.items()},
}  # fmt: skip


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], object]) -> Spoil:
        def spoil(folder: Path) -> None:
            shutil.copytree(material.run / "onnx", folder / "model")
            alter(folder / "model")

        return spoil

    def draw(random_: random.Random, folder: Path) -> str:
        return altered_folder(random_, folder / "model", material.run / "onnx")

    cases = {name: (case(alter), wants) for name, (alter, wants) in CASES.items()}
    return Surface("variants", lambda folder: ask(folder, material), cases, draw, draws=100, places=("--variant ",))
