"""A small but whole run, made once: every stage with real code on a part of the built-in data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = "1"

LANGUAGES = ("de", "en", "ja")
KINDS = ("date", "time", "percentage", "money")
TINY_TRAINING = {"epochs": 3, "batch_size": 32, "learning_rate": 0.003}


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON Lines files with four easy labels in three languages."""
    from compress.data import cldr

    folder = tmp_path_factory.mktemp("data")
    for split, rows in cldr.generate(0).items():
        kept = [row for row in rows if row["lang"] in LANGUAGES and row["label"] in KINDS]
        lines = [json.dumps(row, ensure_ascii=False) for row in kept]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(data_folder: Path) -> dict:
    """A recipe that runs in seconds."""
    return {
        "name": "tiny",
        "data": {"source": str(data_folder), "max_length": 32},
        "teacher": {
            "scratch": {
                "tokenizer": {"vocabulary_size": 400},
                "layers": 4,
                "hidden_size": 64,
                "heads": 2,
                "feed_forward_size": 128,
            },
            "training": TINY_TRAINING,
        },
        "student": {
            "layers": 2,
            "hidden_size": 32,
            "heads": 2,
            "feed_forward_size": 64,
            "training": TINY_TRAINING,
            "distillation": {"hidden": {"weight": 0.1}},
        },
        "export": {"parity": {"rows": 60, "int8": {"max_difference": 3.0, "agreement": 0.9}}},
        "bench": {"rows": 24, "rounds": 2, "threads": 1},
    }


@pytest.fixture(scope="session")
def compress_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line as a user does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **options) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "compress", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            check=False,
            **options,
        )

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: dict, compress_command) -> Path:
    """The directory of a run in which every stage has been run, engine included."""
    root = tmp_path_factory.mktemp("runs")
    recipe = root / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe), "utf-8")
    done = compress_command("run", recipe, "--trt", "--output", root / "artifacts", "--json")
    assert done.returncode == 0, done.stderr
    (root / "stdout.json").write_text(done.stdout, "utf-8")
    (root / "stderr.txt").write_text(done.stderr, "utf-8")
    return root / "artifacts" / "tiny"
