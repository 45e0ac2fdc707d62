"""`compress.load`: the same question and the same answer whatever the model runs on."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compress import load
from compress.data.stage import load_data
from compress.errors import CompressError, UnavailableError
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.serving.format import read_bundle_manifest
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from export.bundle.contents.client import write_client


@pytest.fixture(scope="module")
def texts(run: Run) -> list[str]:
    return load_data(run).splits["test"].column("text").tolist()


def test_predictions_are_those_that_were_measured(bundle: Path, report: Report, texts: list[str]):
    answers = load(bundle, "onnx").predict(texts)
    assert [answer.prediction for answer in answers] == report.predictions["onnx"]
    assert all(answer.probabilities[answer.prediction] == max(answer.probabilities.values()) for answer in answers)


def test_answers_are_alike_for_all_targets(bundle: Path, texts: list[str]):
    names = ("onnx", "onnx-int8", "onnx-fp16", "openvino-int8")
    found = {name: load(bundle, name).predict(texts[:50]) for name in names}
    for answers in found.values():
        assert len(answers) == 50
        assert list(answers[0].probabilities) == list(found["onnx"][0].probabilities)
        same = sum(one.prediction == other.prediction for one, other in zip(answers, found["onnx"], strict=True))
        assert same >= 40


@pytest.mark.parametrize("name", ["onnx", "openvino-int8"])
def test_many_threads_may_ask_at_once(bundle: Path, texts: list[str], name: str):
    model = load(bundle, name)
    wanted = {text: model.predict([text])[0].prediction for text in texts[:64]}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: model.predict([text])[0].prediction, list(wanted) * 4))
    assert answers == list(wanted.values()) * 4


def test_a_model_s_own_folder_is_enough(bundle: Path):
    model = load(bundle / "models/cpu/onnx-int8/1", threads=1)
    assert model.predict([]) == []
    assert model.predict(["12:30"])[0].prediction in model.labels


def test_text_is_read_as_training_read_it(bundle: Path):
    model = load(bundle, "onnx")
    one, other = model.predict(["1. März", "  1. Ma\u0308rz\n"])
    assert one == other


def test_bad_input_is_named(bundle: Path, tmp_path: Path):
    model = load(bundle, "onnx")
    with pytest.raises(CompressError, match="texts must be a list of texts, got one text; put it in a list"):
        model.predict("12:30")
    with pytest.raises(CompressError, match="2 texts, 2 text pairs, 1 languages; there must be as many"):
        model.predict(["a", "b"], languages=["de"])
    with pytest.raises(CompressError, match="onnx reads single texts: leave out text_pairs"):
        model.predict(["a"], ["b"])
    with pytest.raises(CompressError, match="predict: text 1: field 'text' must be text, got int"):
        model.predict(["a", 3])
    with pytest.raises(CompressError, match=r"predict: text 1: field 'text' has \\ud800 at character 2, half of a"):
        model.predict(["a", "b\ud800"])
    with pytest.raises(CompressError, match="predict: texts must be a list of texts, got int"):
        model.predict(3)
    with pytest.raises(CompressError, match="predict: texts must be a list of texts, got NoneType"):
        model.predict(None)
    with pytest.raises(CompressError, match="predict: languages must be a list of texts, got int"):
        model.predict(["a"], languages=3)
    with pytest.raises(CompressError, match="text_pairs must be a list of texts, got one text; put it in a list"):
        model.predict(["a"], "b")
    with pytest.raises(CompressError, match=r"a run, not a bundle; name .*bundle, which `compress bundle` fills"):
        load(bundle.parent)
    with pytest.raises(CompressError, match="has no model 'none'; it has onnx, onnx-int8, openvino-int8"):
        load(bundle, "none")
    with pytest.raises(UnavailableError, match=r"student-fp16\.engine: needs a GPU of sm80, sm86"):
        load(bundle, "tensorrt-fp16")
    with pytest.raises(CompressError, match=r"neither a bundle nor one of its models: manifest\.json and"):
        load(tmp_path)


def test_the_example_of_other_runtimes_asks_as_load_does(copied: Path, texts: list[str]):
    models = [model for model in read_bundle_manifest(copied).models if model.runtime == "OpenVINO"]
    write_client(task_named("text-classification"), "text-classification", Row(texts[0], "", "de"), models, copied)
    predict, model = runpy.run_path(str(copied / "client.py"))["predict"], load(copied, "openvino-int8")
    assert [predict(text) for text in texts[:5]] == [model.predict([text])[0].prediction for text in texts[:5]]
    with pytest.raises(CompressError, match="openvino-int8 reads single texts: leave out text_pairs"):
        predict(texts[0], texts[1])


def test_threads_that_are_no_number_are_named(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMPRESS_THREADS", "two")
    with pytest.raises(SystemExit, match="COMPRESS_THREADS: a number of threads, not 'two'"):
        runpy.run_path(str(bundle / "client.py"))


def test_the_example_runs_with_onnx_runtime_and_tokenizers_alone(bundle: Path, report: Report, texts: list[str]):
    """In a process of its own, in which nothing else can be imported."""
    code = (
        "import json, runpy, sys\n"
        "for name in ('torch', 'transformers', 'compress', 'export'): sys.modules[name] = None\n"
        f"predict = runpy.run_path({str(bundle / 'client.py')!r})['predict']\n"
        "print(json.dumps([predict([(text,)])[0] for text in json.loads(sys.stdin.read())]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(texts[:100]), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == report.predictions["onnx"][:100]
    assert (bundle / "client.py").read_text("utf-8").count("\n") < 55
