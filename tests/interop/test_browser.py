"""The folder for browsers, in headless Chromium: canary rows of every language have Python's tokens and answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from browsers import ask_in_chromium

from compress.data.stage import load_data
from compress.models.load import load_tokenizer
from compress.runs.directory import find_run
from compress.serving.opened import open_to_try
from compress.student.summary import exported_name
from export.bundle.packing import canary_rows
from export.variants.summary import variant_stage

RUN = Path(os.environ.get("COMPRESS_INTEROP", "")) / "single-texts"
VARIANTS = ("onnx", "onnx-int8", "onnx-int4")
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("node", "npm", "chromium")), reason="needs Node.js, npm and Chromium"
)


@pytest.fixture(scope="module")
def web() -> Path:
    accepted = [word for name in VARIANTS for word in ("--accept", name)]
    subprocess.run([sys.executable, "-m", "compress", "bundle", str(RUN), "--web", *accepted], check=True)
    return RUN / "web"


@pytest.mark.parametrize("name", VARIANTS)
def test_canary_rows_have_the_same_answers(web: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = find_run(RUN, RUN.parent)
    data = load_data(run)
    rows = canary_rows(run, data)
    pack = json.loads((web / "page/pack.json").read_text("utf-8"))
    (variant,) = [variant for variant in pack["variants"] if variant["name"] == name]
    question = {name: pack[name] for name in ("max_length", "prefix")} | {"dtype": variant["dtype"]}
    told = ask_in_chromium(web, question | {"texts": [row.text for row in rows]}, tmp_path)
    assert "error" not in told, told

    tokenizer = load_tokenizer(str(run.path_of(exported_name(run))))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(rows)
    assert [answer["ids"] for answer in told["answers"]] == [example["input_ids"] for example in examples]
    outputs, predictions = open_to_try(RUN, name).outputs(rows)
    differences = [
        float(np.abs(np.asarray(answer["logits"]) - output).max())
        for answer, output in zip(told["answers"], outputs, strict=True)
    ]
    same = sum(
        answer["labels"][0][0] == prediction for answer, prediction in zip(told["answers"], predictions, strict=True)
    )
    with capsys.disabled():
        size, taken = variant["bytes"] / 1e6, median(answer["milliseconds"] for answer in told["answers"])
        print(
            f"\n{name} in Chromium: {size:.2f} MB, load {told['load']:.0f} ms, {taken:.1f} ms a text, "
            f"{same} of {len(rows)} predictions in {len({row.lang for row in rows})} languages are the same, outputs "
            f"differ by up to {max(differences):.2g}"
        )
    assert same == len(rows)
    assert max(differences) <= run.summary(variant_stage(name)).tolerance.max_difference
