"""What the card says of measurements, by a report written here."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_bundles import bundled
from small_reports import small_model, small_report

from compress.recipe.student import Distillation
from compress.serving.format import BundleParity
from compress.tasks.registry import TASKS, TaskName
from compress.tasks.rows import Row
from export.bundle.contents.card import (
    comparison_with_parent,
    learnt_by,
    quality_rows,
    untold_languages,
    weak_languages,
)
from export.bundle.contents.client import client_script, write_client

MODEL = bundled("onnx-int8", "onnx", target="cpu-vnni")
ROWS: dict[TaskName, Row] = {
    "text-classification": Row("12:30", "time", "en"),
    "multi-label-classification": Row("12:30", ["time"], "en"),
    "regression": Row("12:30", 0.5, "en"),
    "token-classification": Row(["at", "12:30"], ["O", "B-time"], "en"),
    "question-answering": Row("when?", {"text": ["12:30"], "answer_start": [3]}, "en", text_pair="at 12:30"),
    "translation": Row("January", "Januar", "en-de"),
    "embedding": Row("12:30", "", "en"),
    "reranking": Row("when?", 1.0, "en", text_pair="12:30"),
}


def test_the_first_metric_is_told_by_language_for_the_teacher_and_every_model():
    report = small_report(("onnx-int8", small_model("onnx-int8", accuracy={"ja": 0.8})))
    assert quality_rows(report, [MODEL]) == [
        ["all", "90.0 (89.0–91.0)", "90.0 (89.0–91.0)"],
        ["de", "90.0 (89.0–91.0)", "90.0 (89.0–91.0)"],
        ["ja", "90.0 (89.0–91.0)", "80.0 (79.0–81.0)"],
    ]


def test_a_comparison_in_32_bits_is_not_told_as_one_in_half_precision():
    parity = BundleParity(rows=60, max_difference=0.01, mean_difference=0.001, agreement=1)
    model = MODEL.model_copy(update={"parity": parity})
    assert comparison_with_parent(model) == "100.00 % of 60 predictions are onnx's"
    widened = model.model_copy(update={"parity": parity.model_copy(update={"largest_value": 1234.5})})
    assert comparison_with_parent(widened) == (
        "100.00 % of 60 predictions are onnx's, **calculated in 32 bits on a CPU**; in half precision values up to "
        "65,504 fit, and 1,234 was the largest"
    )
    kept = model.model_copy(update={"parity": widened.parity.model_copy(update={"too_large": 3})})
    assert comparison_with_parent(kept).endswith("1,234 was the largest; 3 nodes with larger ones stay in 32 bits")


def test_languages_are_weak_where_that_is_significant_or_they_were_not_learnt():
    report = small_report(("onnx-int8", small_model("onnx-int8", accuracy={"ja": 0.8}, lost_in="ja")))
    assert weak_languages(report, [MODEL], {"de": "text", "ja": "labels", "th": "nothing"}) == {
        "de": ["its text was seen in training, none of its labels"],
        "th": ["not seen in training"],
        "ja": [
            "onnx-int8 loses 5.0 points of accuracy against the teacher",
            "onnx-int8 has 80.0 (79.0–81.0) % accuracy, all languages 90.0 %",
        ],
    }
    alike = small_report(("onnx-int8", small_model("onnx-int8")))
    assert weak_languages(alike, [MODEL], {"de": "labels", "ja": "labels"}) == {}


def test_a_language_whose_text_was_seen_is_not_weak_where_vectors_are_learnt_of_text():
    alike = small_report(("onnx-int8", small_model("onnx-int8")))
    found = weak_languages(alike, [MODEL], {"de": "text", "ja": "nothing"}, enough="text")
    assert found == {"ja": ["not seen in training"]}


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("text-classification", {}, "α 0.1, temperature 2.0"),
        ("regression", {"alpha": 0.25}, "α 0.25"),
        ("reranking", {"alpha": 0}, "α 0.0, margins"),
        ("reranking", {"ranking": "lists"}, "α 0.1, lists, temperature 2.0"),
        ("embedding", {"vectors": {"cosine": 0.5, "mse": 0, "similarities": 1}}, "cosine 0.5, similarities 1.0"),
    ],
)
def test_a_student_s_loss_is_told_by_what_its_task_has(name: TaskName, settings: dict, told: str):
    assert learnt_by(Distillation.model_validate(settings), TASKS[name]) == told


def test_too_few_rows_are_said_to_tell_nothing():
    report = small_report(("onnx-int8", small_model("onnx-int8", lost_in="ja")))
    assert untold_languages(report, [MODEL], {"all": 104, "de": 4, "ja": 100}) == {"de": 0.75, "ja": 0.07}
    assert untold_languages(report, [MODEL], {"all": 200, "de": 100, "ja": 100}) == {"ja": 0.07}
    alike = small_report(("onnx-int8", small_model("onnx-int8")))
    assert untold_languages(alike, [MODEL], {"all": 200, "de": 100, "ja": 100}) == {}


@pytest.mark.parametrize(
    ("name", "row", "call"),
    [
        ("text-classification", ROWS["text-classification"], '["a text"]'),
        ("text-classification", Row("12:30", "same", "en", text_pair="1:30"), '["a text"], ["another"]'),
        ("multi-label-classification", ROWS["multi-label-classification"], '["a text"]'),
        ("regression", ROWS["regression"], '["a text"]'),
        ("token-classification", ROWS["token-classification"], '[["some", "words"]]'),
        ("question-answering", ROWS["question-answering"], '["a question"], ["a text that answers it"]'),
        ("translation", ROWS["translation"], '["…"], languages="en-de"'),
        ("embedding", ROWS["embedding"], '["a text"], kind="query"'),
        ("reranking", ROWS["reranking"], '"a query", ["a passage", "another"]'),
    ],
)
def test_every_task_has_a_call_to_show(name: TaskName, row: Row, call: str):
    assert TASKS[name].example_call(row) == call


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_client(name: TaskName):
    script = client_script(name, plain=True)
    compile(script, f"{name}.py", "exec")
    assert "MODEL_FOLDER" in script
    assert f"def {'encode' if TASKS[name].VECTORS else 'rank' if TASKS[name].RANKS else 'predict'}(" in script
    assert '["CPUExecutionProvider"]' in script


@pytest.mark.parametrize(("name", "second"), [("text-classification", "text_pairs"), ("translation", "languages")])
def test_where_libraries_alone_do_not_suffice_the_client_asks_this_package(name: TaskName, second: str, tmp_path: Path):
    example = write_client(TASKS[name], name, ROWS[name], [MODEL], tmp_path)  # without a tokenizer.json
    script = (tmp_path / "client.py").read_text("utf-8")
    assert not example.plain
    assert f'{{"{second}": [second]}}' in script
    assert f'"{MODEL.folder}"' in script
    assert "SECOND_INPUT" not in script


def test_files_are_clients_of_tasks_and_nothing_else():
    folder = Path(client_script.__code__.co_filename).parent / "files"
    names = {path.stem for path in folder.glob("*.py")} - {"__init__", "model", "session", "with_compress"}
    assert names == {name.replace("-", "_") for name in TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_what_a_served_model_is_asked_with_becomes_the_row_again(name: TaskName):
    task, row = TASKS[name], ROWS[name]
    asked = task.question(row)
    columns = {role: field for role, field in task.FIELDS.items() if role != "label"}
    content = task.content(task.served_text(asked["TEXT"]), asked.get("TEXT_PAIR"), asked.get("LANGUAGES"))
    again = task.read_row("here", content, columns)
    assert (again.text, again.text_pair) == (row.text, row.text_pair)
    assert again.lang == (row.lang if "LANGUAGES" in asked else "")
