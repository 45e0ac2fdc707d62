"""Every task along the whole road: teacher, student, ONNX, int8, engine, bench; and the folders in other hands."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pairings
import pytest
import torch
import transformers
import yaml
from google.protobuf import text_format
from tiny_runs import TASKS, recipe_for, record_again
from tritonclient.grpc.model_config_pb2 import ModelConfig

from compress import load
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.metrics.comparison import agreement
from compress.reports.bench import read_report
from compress.runs.directory import Run, find_run
from compress.targets import TARGETS
from compress.teacher import sequences
from compress.teacher.outputs import load_cache
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify
from export.onnx.graphs import graphs_in
from export.quantize.calibration import calibration_of
from export.quantize.int8 import quantize_static_int8


@pytest.fixture(scope="module", params=TASKS)
def run(request, tmp_path_factory: pytest.TempPathFactory, compress_command):
    """A finished run of the task, and what the command printed."""
    root = tmp_path_factory.mktemp("task")
    recipe, fields = recipe_for(request.param, root)
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    settings = [word for name, value in fields.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    done = compress_command("run", root / "recipe.yaml", *settings, "--trt", "--output", root / "runs", "--json")
    assert done.returncode == 0, done.stderr
    return find_run(root / "runs/tiny", root / "runs"), json.loads(done.stdout), done.stderr


translation_only = pytest.mark.parametrize("run", ["translation"], indirect=True)
encoders_only = pytest.mark.parametrize("run", [task for task in TASKS if task != "translation"], indirect=True)


def test_the_student_has_learned_and_every_variant_is_measured(run):
    this, result, shown = run
    metric, least = TASKS[this.recipe.task].metric, TASKS[this.recipe.task].least
    found = result["evaluation"]["models"]
    assert found["teacher"]["all"][metric]["value"] > least
    assert found["student"]["all"][metric]["value"] > least - 0.15
    assert set(result["bench"]["models"]) == {"teacher", "student", "onnx", "onnx-fused", "onnx-int8", "onnx-fp16"}
    onnx = result["bench"]["models"]["onnx"]["quality"]["all"][metric]["value"]
    assert onnx == pytest.approx(found["student"]["all"][metric]["value"], abs=0.01)
    languages = {"en-de", "en-fr"} if this.task.GENERATES else {"de", "en", "ja"}
    assert set(result["bench"]["models"]["onnx"]["quality"]) == {*languages, "all"}
    assert f"Test {metric} %" in shown
    assert ("nothing here runs engines of models that write" in shown) == this.task.GENERATES
    graphs = graphs_in(this.folder / "onnx")
    assert (
        len(graphs) == len(list((this.folder / "tensorrt-fp16").glob("*.engine"))) == (3 if this.task.GENERATES else 1)
    )


@pytest.mark.parametrize("run", ["question-answering"], indirect=True)
def test_questions_without_an_answer_get_none_from_every_model(run):
    this, result, _ = run
    lacking = [number for number, row in enumerate(load_data(this).splits["test"]) if not row.label["text"]]
    report = read_report(this.folder / "bench/report.json")
    for name, measured in result["bench"]["models"].items():
        none = [report.predictions[name][number] == "" for number in lacking]
        assert measured["quality"]["all"]["NoAns F1"]["value"] == pytest.approx(np.mean(none), abs=1e-4)
        assert 0 < report.predictions[name].count("") < len(report.predictions[name]) / 2
    (threshold,) = result["student"]["training"]["thresholds"]
    assert json.loads((this.folder / "onnx/config.json").read_text("utf-8"))["decision_thresholds"] == [threshold]


@pytest.mark.parametrize("run", ["question-answering"], indirect=True)
def test_a_search_and_the_gate_count_answers_where_there_are_none(run, tmp_path):
    this, _, _ = run
    trial = pairings.tried(this, tmp_path / "trials")
    assert (trial.search.metric, set(trial.search.drop)) == ("F1", {"de", "en", "ja", "all"})
    said = [(row.label["text"] or [""])[0] for row in load_data(this).splits["test"]]
    found = pairings.judged(this, said, [text or "an answer" for text in said])
    assert {finding.place: finding.verdict for finding in found}["all"] == "fail"
    assert "fail" not in {finding.verdict for finding in pairings.judged(this, said, said)}


@translation_only
def test_writing_is_measured_token_by_token(run):
    _, result, shown = run
    latency = result["bench"]["models"]["onnx"]["latency"]["1"]
    assert latency["tokens_per_second"] > latency["rows_per_second"]
    assert 0 < latency["first_token_p50_ms"] < latency["p50_ms"]
    assert "tokens/s" in shown
    assert "BLEU: sacrebleu nrefs:1|case:mixed|eff:no|tok:13a" in shown
    assert result["sequences"]["rows"] == result["student"]["rows"]["rows"] + result["sequences"]["dropped_empty"]


def test_a_bundle_says_what_was_measured(run):
    this, _, _ = run
    report = read_report(this.folder / "bench/report.json")
    run_bundle_stage(this, Wanted(("onnx", "onnx-int8"), ("tensorrt-fp16",)), report)
    folder, rows = this.folder / "bundle", list(load_data(this).splits["test"])[:40]
    assert verify(folder).passed
    pairs = None if rows[0].text_pair is None else [row.text_pair for row in rows]
    asked = ([row.text for row in rows], pairs, [row.lang for row in rows])
    found = [answer.prediction for answer in load(folder).predict(*asked)]
    assert found == report.predictions["onnx"][:40]
    if pairs:
        with pytest.raises(CompressError, match="predict: onnx reads pairs: give text_pairs too"):
            load(folder).predict(["a"])
    config = folder / "models/cpu/onnx/config.pbtxt"
    backend = "python" if this.task.GENERATES else "onnxruntime"
    assert text_format.Parse(config.read_text("utf-8"), ModelConfig()).backend == backend
    example = runpy.run_path(str(folder / "client.py"))["predict"]
    for row, wanted in zip(rows[:10], found, strict=False):
        if this.recipe.task == "text-classification":
            assert example([(row.text, row.text_pair)]) == [wanted]
        elif this.recipe.task == "translation":
            assert example(row.lang, row.text)  # without beams
        else:
            assert example(*([row.text] if pairs is None else [row.text, row.text_pair])) == wanted


@encoders_only
def test_the_exported_folder_serves_whoever_loads_it(run):
    this, _, _ = run
    folder = this.folder / "onnx"
    model = getattr(transformers, this.task.AUTO_CLASS).from_pretrained(this.folder / "student").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    inputs = tokenizer("3. März 2024", "12:30", return_tensors="pt")
    given = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
    expected = model(**inputs)
    for name, output in zip(this.task.OUTPUTS, session.run(list(this.task.OUTPUTS), given), strict=True):
        assert np.allclose(output, expected[name].detach().numpy(), atol=1e-4)
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.architectures == [type(model).__name__]


@pytest.mark.parametrize("run", ["text-classification", "token-classification"], indirect=True)
def test_pipelines_say_what_we_say(run):
    """Transformers 5 has no pipelines for the other tasks: those of transformers 4 are asked in tests/interop."""
    this, _, _ = run
    pipeline = transformers.pipeline(this.recipe.task, str(this.folder / "student"), device="cpu")
    rows = [json.loads(line) for line in (this.folder / "data/test.jsonl").read_text().splitlines()][:20]
    own = json.loads((this.folder / "evaluation/student-predictions.json").read_text())[:20]
    for row, prediction in zip(rows, own, strict=True):
        if this.recipe.task == "text-classification":
            assert pipeline({"text": row["text"], "text_pair": row["text_pair"]})["label"] == prediction
        else:
            (found,) = pipeline([row["text"]], is_split_into_words=True, ignore_labels=[])
            word_of = pipeline.tokenizer(row["text"], is_split_into_words=True, truncation=True).word_ids()
            first = {word_of[entity["index"]]: entity["entity"] for entity in reversed(found)}
            first.pop(None, None)
            assert len(first) > 5
            assert {word: prediction[word] for word in first} == first


@translation_only
def test_no_weight_is_unpacked_in_every_step_of_int8(run):
    this, _, _ = run
    for path in graphs_in(this.folder / "onnx-int8"):
        nodes = onnx.load(path).graph.node
        unpacked = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
        assert not [
            node.name for node in nodes if node.op_type in ("MatMul", "Transpose") and set(node.input) & unpacked
        ]
        assert any(node.op_type == "MatMulIntegerToFloat" for node in nodes)


@translation_only
def test_attention_of_the_encoder_is_fused(run):
    this, _, _ = run
    operators = [node.op_type for node in onnx.load(this.folder / "onnx-fused/encoder_model.onnx").graph.node]
    assert operators.count("Attention") == 2
    assert "Softmax" not in operators


@translation_only
def test_openvino_translates(run, tmp_path, compress_command):
    this, _, _ = run
    folder = Path(shutil.copytree(this.folder, tmp_path / "tiny"))
    done = compress_command("export", folder, "--variants", "openvino-int8", "--output", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["variants"]["openvino-int8"]
    assert made["parity"]["agreement"] > 0.9
    run_bundle_stage(find_run(folder, tmp_path), Wanted((), ("openvino-int8",)), None)
    assert verify(folder / "bundle").passed
    model = folder / "bundle/models/openvino/openvino-int8"
    rows = list(load_data(this).splits["test"])
    found = load(model / "1").predict([row.text for row in rows], languages=[row.lang for row in rows])
    wanted = json.loads((this.folder / "evaluation/student-predictions.json").read_text("utf-8"))
    assert agreement(this.task.agreed([answer.prediction for answer in found], wanted)) > 0.9
    assert text_format.Parse((model / "config.pbtxt").read_text("utf-8"), ModelConfig()).backend == "python"
    card = (folder / "bundle/README.md").read_text("utf-8")
    assert 'OVModelForSeq2SeqLM.from_pretrained("models/openvino/openvino-int8/1")' in card


@translation_only
def test_static_int8_finds_its_ranges_while_translating(run, tmp_path):
    this, _, _ = run
    calibrate = calibration_of(this, load_data(this), this.folder / "onnx")
    quantize_static_int8(this.folder / "onnx", tmp_path, TARGETS["cuda-sm89"], calibrate, "minmax")
    for name in ("encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"):
        operators = {node.op_type for node in onnx.load(tmp_path / name).graph.node}
        assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def without_labels(run: Run, folder: Path) -> Run:
    """A copy of a run whose rows do not have the translations that its teacher is to write."""
    shutil.copytree(run.folder, folder)
    rows = [json.loads(line) for line in (folder / "data/train.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**row, "label": "nobody's"}) + "\n" for row in rows)
    (folder / "data/train.jsonl").write_text(text)
    record_again(folder, "data")
    return find_run(folder, folder.parent)


@translation_only
def test_the_student_learns_from_what_its_teacher_writes(run, tmp_path, monkeypatch):
    this, _, _ = run
    own = [json.loads(line)["label"] for line in (this.folder / "data/train.jsonl").read_text().splitlines()]
    monkeypatch.setattr(sequences, "_BLOCK", 750)
    (tmp_path / "000000750.json").write_text(json.dumps(["as it was before the interruption"] * (len(own) - 750)))
    (tmp_path / "filling").mkdir()
    sequences._build(without_labels(this, tmp_path / "runs/tiny"), tmp_path / "filling", tmp_path)
    again, before = (
        [json.loads(line)["label"] for line in (folder / "train.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "filling", this.folder / "sequences")
    )
    assert agreement(this.task.agreed(again[:750], before[:750])) > 0.95  # other batches: the last digits differ
    assert agreement(this.task.agreed(before, own)) > 0.3
    assert set(again[750:]) == {"as it was before the interruption"}


@translation_only
def test_the_largest_logits_of_each_token_are_kept(run):
    this, _, _ = run
    teacher = transformers.AutoModelForSeq2SeqLM.from_pretrained(this.folder / "teacher").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(this.folder / "teacher")
    row = sequences.load_student_data(this).splits["train"][3]
    (example,) = this.task.encoder(tokenizer, this.recipe.data, [])([row])
    labels = torch.tensor([example["labels"]])
    with torch.no_grad():
        expected = teacher(input_ids=torch.tensor([example["input_ids"]]), labels=labels).logits[0].topk(16)
    found = load_cache(this).batch([3], labels.shape[1])
    assert torch.allclose(found["logits"][0], expected.values, atol=1e-3)
    assert torch.equal(found["classes"][0, :, 0], expected.indices[:, 0])
