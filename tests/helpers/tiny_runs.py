"""Recipes of small but whole runs, for each task."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import task_rows

from compress.runs.files import content_hash, file_sha256, write_json

Fields = dict[str, Any]
"""Of a recipe, as YAML has them."""
_TRAINING = {"epochs": 8, "batch_size": 32, "learning_rate": 0.003, "precision": "fp32"}


@dataclass(frozen=True)
class TinyTask:
    """A task in a small run: rows and how many of them, its first metric and what that reaches at least."""

    rows: Callable
    count: int
    metric: str
    least: float
    fields: Fields = field(default_factory=dict)


TASKS = {
    "text-classification": TinyTask(task_rows.pairs, 1000, "accuracy", 0.7, {"data.fields.text_pair": "text_pair"}),
    "token-classification": TinyTask(task_rows.words, 500, "F1", 0.6, {"student.distillation.hidden.weight": 0.1}),
    "question-answering": TinyTask(task_rows.questions, 1000, "F1", 0.4),
    "translation": TinyTask(
        task_rows.translations,
        1500,
        "BLEU",
        0.5,
        {
            "teacher.scratch.layers": 2,
            "teacher.scratch.tokenizer": {"vocabulary_size": 200, "longest_piece": 12},
            "teacher.training.mask_probability": 0,
            "student.training.mask_probability": 0,
            "student.training.epochs": 4,
            "student.every_nth_layer": 1,
            "student.decoder_layers": 1,
            "student.distillation.sequences": {"enabled": True, "beams": 2},
            "generation.beams": 2,
        },
    ),
}


def tiny_recipe(data: Path | str) -> Fields:
    """A recipe that runs in seconds."""
    training = {"epochs": 3, "batch_size": 32, "learning_rate": 0.003, "precision": "fp32"}  # on all machines alike
    shape = {"layers": 4, "hidden_size": 64, "heads": 2, "feed_forward_size": 128}
    return {
        "name": "tiny",
        "data": {"source": str(data), "max_length": 32},
        "teacher": {"scratch": {"tokenizer": {"vocabulary_size": 400}, **shape}, "training": training},
        "student": {
            "layers": 2,
            "hidden_size": 32,
            "heads": 2,
            "feed_forward_size": 64,
            "training": training,
        },
        "export": {
            "variants": ["onnx-fused", "onnx-int8"],
            "parity": {"rows": 60, "int8": {"max_difference": 3.0, "agreement": 0.9}},
        },
        "bench": {"rows": 24, "rounds": 2, "threads": 1},
    }


def recipe_for(task: str, root: Path) -> tuple[Fields, Fields]:
    """A recipe for a task, whose rows are written under ``root``, and fields to set on top."""
    tiny = TASKS[task]
    recipe = tiny_recipe(task_rows.write(root / "data", tiny.rows, tiny.count))
    recipe["data"]["max_length"] = 48
    recipe["bench"] |= {"rounds": 1, "starts": 1, "lengths": [48]}
    recipe["teacher"]["training"] = recipe["student"]["training"] = _TRAINING
    recipe["student"] |= {"hidden_size": 64, "feed_forward_size": 128}
    recipe["export"]["parity"]["int8"] = {"max_difference": 6.0, "agreement": 0.5}
    recipe["export"]["parity"]["fp16"] = {"max_difference": 0.1, "agreement": 0.95}  # one row in 60 is 1.7 %
    return {**recipe, "task": task}, tiny.fields


def record_again(folder: Path, stage: str) -> None:
    """Let the manifest of a run say of a stage what lies there now, as if it and all that follows had been made so."""
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    entry = manifest["stages"][stage]
    for file in entry["files"]:
        path = folder / file["path"]
        file.update(sha256=file_sha256(path), bytes=path.stat().st_size)
    entry["digest"] = content_hash([[file["path"], file["sha256"]] for file in entry["files"]])
    for other in manifest["stages"].values():
        if stage in other["parents"]:
            other["parents"][stage] = entry["digest"]
    write_json(folder / "manifest.json", manifest)
