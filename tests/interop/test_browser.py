"""The folder for browsers, in headless Chromium: canary rows of every language have Python's tokens and answers."""

from __future__ import annotations

import os
import re
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

from bench.studies.browsers import read_pack
from bench.studies.chromium import NO_WEBGPU, ask_in_chromium, use_page
from compress.data.stage import load_data
from compress.models.load import load_tokenizer
from compress.models.reranker import activation_in
from compress.runs.directory import Run, find_run
from compress.serving.opened import open_to_try
from compress.student.summary import exported_name
from compress.tasks.rows import Row
from export.bundle.packing import canary_rows
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
PAGES = ("single-texts", "token-classification", "question-answering", "translation", "reranking", "embedding")
ON_WEBGPU = (
    ("single-texts", "onnx"),
    ("single-texts", "onnx-fp16"),
    ("single-texts", "onnx-int8"),
    ("translation", "onnx"),
)
WEBGPU_ON_THE_PROCESSOR = (
    *("--enable-unsafe-webgpu", "--enable-features=Vulkan"),
    *("--use-webgpu-adapter=swiftshader", "--use-vulkan=swiftshader"),
)
"""Chromium's own stand-in for a graphics card."""
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
    told = _asked(run, web, variant, tmp_path)
    assert "error" not in told, told
    line = _compared(run, web, variant, told)
    with capsys.disabled():
        print(f"\n{name}, {variant} in Chromium: {line}")


@pytest.mark.parametrize(("name", "variant"), ON_WEBGPU)
def test_webgpu_gives_the_same_answers(
    packed: Callable[[str], tuple[Run, Path]],
    name: str,
    variant: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    run, web = packed(name)
    told = _asked(run, web, variant, tmp_path, "webgpu", WEBGPU_ON_THE_PROCESSOR)
    if reason := next(
        (reason for reason in (NO_WEBGPU, "does not support fp16") if reason in told.get("error", "")), None
    ):
        pytest.skip(f"Chromium here: {reason}")
    assert "error" not in told, told
    line = _compared(run, web, variant, told)
    with capsys.disabled():
        print(f"\n{name}, {variant} in Chromium by WebGPU: {line}")


def _asked_rows(run: Run) -> list[Row]:
    return [text for row in canary_rows(run, load_data(run)) for text in run.task.rows_learnt(row)]


def _asked(
    run: Run, web: Path, variant: str, profile: Path, device: str = "wasm", flags: Sequence[str] = ()
) -> dict[str, Any]:
    """What the browser says of canary rows."""
    questions = questions_about(run.task, _asked_rows(run), read_pack(web).ways)
    asked = [question.model_dump(mode="json") for question in questions]
    return ask_in_chromium(web, {"variant": variant, "questions": asked, "device": device}, profile, flags=flags)


def _compared(run: Run, web: Path, variant: str, told: dict[str, Any]) -> str:
    """A line on what the browser says, which is what Python says."""
    rows, answers = _asked_rows(run), told["answers"]
    tokenizer = load_tokenizer(str(run.path_of(exported_name(run))))
    encode = run.task.encoder(tokenizer, run.recipe.data, load_data(run).labels)
    read = [example.ids for row in rows for example in read_in_python(encode, row).examples]
    assert [example["ids"] for answer in answers for example in answer["examples"]] == read
    outputs, predictions = open_to_try(run.folder, variant).outputs(rows)
    found = [np.asarray(numbers) for answer in answers for numbers in answer["outputs"]]
    activation = activation_in(run.path_of(variant)) if run.task.RANKS else None
    wanted = [run.task.told(prediction, activation) for prediction in predictions]
    most = run.summary(variant_stage(variant)).tolerance.max_difference
    pairs = zip(answers, wanted, strict=True)
    same = sum(_is_same(answer["prediction"], one, most) for answer, one in pairs)
    assert same == len(rows)
    (size,) = (packed.bytes / 1e6 for packed in read_pack(web).variants if packed.name == variant)
    line = (
        f"{size:.2f} MB, load {told['load']:.0f} ms, {_taken(answers):.1f} ms a text, {same} of {len(rows)} "
        f"predictions in {len({row.lang for row in rows})} languages are the same"
    )
    if run.task.GENERATES:  # what is put out are tokens
        return line
    differences = [float(np.abs(one - other.ravel()).max()) for one, other in zip(found, outputs, strict=True)]
    assert max(differences) <= most
    return f"{line}, outputs differ by up to {max(differences):.2g}"


def _is_same(found: Any, wanted: Any, difference: float) -> bool:
    """Whether two predictions are the same; of numbers, as near as a variant's outputs are."""
    if isinstance(wanted, float) or (isinstance(wanted, list) and wanted and isinstance(wanted[0], float)):
        return bool(np.abs(np.asarray(found) - np.asarray(wanted)).max() <= difference)
    return bool(found == wanted)


def _taken(answers: Sequence[dict[str, Any]]) -> float:
    return median(answer["milliseconds"] for answer in answers)


@pytest.mark.parametrize("name", PAGES)
def test_the_page_answers_what_is_typed(packed: Callable[[str], tuple[Run, Path]], name: str, tmp_path: Path):
    run, web = packed(name)
    row = canary_rows(run, load_data(run))[-1]
    pack, model = read_pack(web), open_to_try(RUNS / name, "onnx")
    typed = " ".join(row.text) if isinstance(row.text, list) else row.text
    second = row.text_pair
    if run.task.RANKS or run.task.VECTORS:
        second = "\n".join(dict.fromkeys(text for one in pack.examples for text in (one.text, one.text_pair) if text))
    way = pack.examples[0].way  # which the page has chosen
    told = use_page(web, tmp_path, text=typed, pair=second)
    assert "error" not in told, told
    assert re.fullmatch(r"onnx: ready after [\d.]+ ms", told["state"])
    assert re.fullmatch(r"[\d.]+ ms", told["latency"])
    assert told["hosts"] == ["127.0.0.1"]
    assert [cells[0] for cells in told["examples"]] == sorted({one.lang for one in pack.examples})
    if run.task.RANKS:
        ranked = model.rank(typed, second.split("\n"))
        assert [(text, float(score)) for text, score in told["answer"]] == [
            (one.passage, pytest.approx(one.score, abs=1e-3)) for one in ranked
        ]
    elif run.task.VECTORS:
        (asked,), others = model.encode([typed], way or None), model.encode(second.split("\n"), "passage")
        lengths = np.linalg.norm(asked) * np.linalg.norm(others, axis=1)
        wanted = sorted((others @ asked / lengths).tolist(), reverse=True)
        assert [float(score) for _, score in told["answer"][1:]] == pytest.approx(wanted, abs=1e-3)
    else:
        languages = way if run.task.GENERATES else None
        (said,) = model.predict([row.text], None if second is None else [second], languages)
        shown = [cells[-1] for cells in told["answer"]] if isinstance(row.text, list) else told["answer"][0][0]
        assert shown == (said.prediction or "no answer")


def test_the_study_measures_every_variant(packed: Callable[[str], tuple[Run, Path]], tmp_path: Path):
    web, picture = packed("single-texts")[1], tmp_path / "page.png"
    command = [sys.executable, "-m", "bench.studies.browsers", str(web), "--picture", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.search(r"In Chromium \d+, one thread of", done.stdout)
    for name, variant in CASES:
        assert (f" {variant} " in done.stdout) or name != "single-texts"
    assert picture.read_bytes().startswith(b"\x89PNG")
