"""The folder for browsers, in headless Chromium: canary rows of every language have Python's tokens and answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from browsers import ask_in_chromium

from compress.data.stage import load_data
from compress.models.load import load_tokenizer
from compress.models.reranker import activation_in
from compress.runs.directory import Run, find_run
from compress.serving.opened import open_to_try
from compress.student.summary import exported_name
from export.bundle.packing import canary_rows
from export.bundle.web.summary import WebPack
from export.bundle.web.tokens import questions_about, read_in_python
from export.variants.summary import variant_stage

RUNS = Path(os.environ.get("COMPRESS_INTEROP", ""))
_TASKS = (
    *("text-classification", "token-classification", "question-answering", "embedding", "reranking"),
    *("several-labels", "numbers", "translation"),
)
CASES = [
    *(("single-texts", name) for name in ("onnx", "onnx-int8", "onnx-fp16", "onnx-int4")),
    *((run, name) for run in _TASKS for name in ("onnx", "onnx-int8")),
]
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("node", "npm", "chromium")), reason="needs Node.js, npm and Chromium"
)


@pytest.fixture(scope="module")
def packed() -> Callable[[str], tuple[Run, Path]]:
    """A run with the folder of all its variants for browsers, packed once."""

    @cache
    def pack(name: str) -> tuple[Run, Path]:
        accepted = [word for run, variant in CASES if run == name for word in ("--accept", variant)]
        subprocess.run([sys.executable, "-m", "compress", "bundle", str(RUNS / name), "--web", *accepted], check=True)
        return find_run(RUNS / name, RUNS), RUNS / name / "web"

    return pack


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_canary_rows_have_the_same_answers(
    packed: Callable[[str], tuple[Run, Path]],
    name: str,
    variant: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run, web = packed(name)
    data = load_data(run)
    rows = [text for row in canary_rows(run, data) for text in run.task.rows_learnt(row)]
    pack = WebPack.model_validate_json((web / "page/pack.json").read_text("utf-8"))
    questions = [question.model_dump(mode="json") for question in questions_about(run.task, rows, pack.ways)]
    told = ask_in_chromium(web, {"variant": variant, "questions": questions}, tmp_path)
    assert "error" not in told, told
    answers = told["answers"]

    tokenizer = load_tokenizer(str(run.path_of(exported_name(run))))
    encode = run.task.encoder(tokenizer, run.recipe.data, data.labels)
    read = [example.ids for row in rows for example in read_in_python(encode, row).examples]
    assert [example["ids"] for answer in answers for example in answer["examples"]] == read
    outputs, predictions = open_to_try(RUNS / name, variant).outputs(rows)
    found = [np.asarray(numbers) for answer in answers for numbers in answer["outputs"]]
    differences = [float(np.abs(one - other.ravel()).max()) for one, other in zip(found, outputs, strict=True)]
    tolerance = run.summary(variant_stage(variant)).tolerance
    activation = activation_in(run.path_of(variant)) if run.task.RANKS else None
    wanted = [run.task.told(prediction, activation) for prediction in predictions]
    same = sum(
        _is_same(answer["prediction"], one, tolerance.max_difference)
        for answer, one in zip(answers, wanted, strict=True)
    )
    with capsys.disabled():
        (size,) = (packed.bytes / 1e6 for packed in pack.variants if packed.name == variant)
        print(
            f"\n{name}, {variant} in Chromium: {size:.2f} MB, load {told['load']:.0f} ms, {_taken(answers):.1f} ms a "
            f"text, {same} of {len(rows)} predictions in {len({row.lang for row in rows})} languages are the same, "
            f"outputs differ by up to {max(differences):.2g}"
        )
    assert same == len(rows)
    assert max(differences) <= tolerance.max_difference


def _is_same(found: Any, wanted: Any, difference: float) -> bool:
    """Whether two predictions are the same; of numbers, as near as a variant's outputs are."""
    if isinstance(wanted, float) or (isinstance(wanted, list) and wanted and isinstance(wanted[0], float)):
        return bool(np.abs(np.asarray(found) - np.asarray(wanted)).max() <= difference)
    return bool(found == wanted)


def _taken(answers: Sequence[dict[str, Any]]) -> float:
    return median(answer["milliseconds"] for answer in answers)
