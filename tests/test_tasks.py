"""Every task along the whole road: teacher, student, ONNX, int8, engine, bench; and the folders in other hands."""

import json

import numpy as np
import onnxruntime
import pytest
import task_rows
import transformers
import yaml

from compress.run import find_run

ENCODERS = {
    # task: rows, number of them, fields, first metric, what it reaches at least
    "text-classification": (task_rows.pairs, 1000, {"text_pair": "text_pair"}, "accuracy", 0.7),
    "token-classification": (task_rows.words, 500, {}, "F1", 0.6),
    "question-answering": (task_rows.questions, 1000, {}, "F1", 0.4),
}


@pytest.fixture(scope="module", params=ENCODERS)
def run(request, tmp_path_factory: pytest.TempPathFactory, tiny_recipe: dict, compress_command):
    """A finished run of the task, and what the command printed."""
    task, root = request.param, tmp_path_factory.mktemp("task")
    rows, count, fields, _, _ = ENCODERS[task]
    data = {"source": str(task_rows.write(root / "data", rows, count)), "max_length": 48, "fields": fields}
    training = {"epochs": 8, "batch_size": 32, "learning_rate": 0.003}
    recipe = {
        **tiny_recipe,
        "task": task,
        "data": data,
        "teacher": {**tiny_recipe["teacher"], "training": training},
        "student": {**tiny_recipe["student"], "hidden_size": 64, "feed_forward_size": 128, "training": training},
        "export": {"parity": {"rows": 60, "int8": {"max_difference": 6.0, "agreement": 0.5}}},
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = compress_command("run", root / "recipe.yaml", "--trt", "--output", root / "runs", "--json")
    assert done.returncode == 0, done.stderr
    return find_run(root / "runs/tiny", root / "runs"), json.loads(done.stdout), done.stderr


def test_the_student_has_learned_and_every_variant_is_measured(run):
    this, result, shown = run
    _, _, _, metric, least = ENCODERS[this.recipe.task]
    found = result["evaluation"]["models"]
    assert found["teacher"]["all"][metric]["value"] > least
    assert found["student"]["all"][metric]["value"] > least - 0.15
    assert set(result["bench"]["models"]) == {"teacher", "student", "onnx", "onnx-int8"}
    onnx = result["bench"]["models"]["onnx"]["quality"]["all"][metric]["value"]
    assert onnx == pytest.approx(found["student"]["all"][metric]["value"], abs=0.01)
    assert set(result["bench"]["models"]["onnx"]["quality"]) == {"de", "en", "ja", "all"}
    assert f"Test {metric} %" in shown
    assert list((this.folder / "tensorrt").glob("*.engine"))


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


def test_pipelines_say_what_we_say(run):
    this, _, _ = run
    if this.recipe.task not in ("text-classification", "token-classification"):
        pytest.skip(f"transformers {transformers.__version__} has no pipeline for {this.recipe.task}")
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
