"""`compress predict`: a run's model, a bundle's and any other say the same of the same texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from compress.cli.app import app
from compress.cli.predict import _table
from compress.cli.results import Said

pytestmark = pytest.mark.usefixtures("forked_trials")
_TEXTS = ("5 %", "14. März 2024")


def said(*arguments: object, lines: str = "") -> dict[str, object]:
    done = CliRunner().invoke(app, ["predict", *map(str, arguments), "--json"], input=lines)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_texts_come_from_the_command_line_standard_input_and_files(finished_run: Path, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text, "lang": "de"}) + "\n" for text in _TEXTS), "utf-8")
    (tmp_path / "lines.txt").write_text("\n".join(_TEXTS), "utf-8")
    told = said(finished_run, *_TEXTS)
    assert (told["model"], told["task"]) == ("student", "text-classification")
    first = told["answers"][0]
    assert first["text"] == "5 %"
    assert first["prediction"] == max(first["probabilities"], key=first["probabilities"].get)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert said(finished_run, lines="\n".join(_TEXTS)) == told
    assert said(finished_run, "--file", rows) == told
    assert said(finished_run, "--file", tmp_path / "lines.txt") == told


def test_a_run_s_variants_and_a_model_s_folder_say_the_same(finished_run: Path):
    student = said(finished_run, *_TEXTS)["answers"]
    for told in (said(finished_run, *_TEXTS, "--variant", "onnx"), said(finished_run / "student", *_TEXTS)):
        for one, other in zip(student, told["answers"], strict=True):
            assert one["prediction"] == other["prediction"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


def test_how_sure_a_model_is_is_shown_of_one_label_alone():
    one = Said(text="a", prediction="good", probabilities={"good": 0.75, "bad": 0.25})
    several = Said(text=["a", "b"], prediction=[], probabilities={"good": 0.4, "bad": 0.3})
    console = Console(width=100)
    with console.capture() as drawn:
        console.print(_table([one]), _table([several]))
    first, second = drawn.get().split("Predictions")[1:]
    assert "75.0 %" in first
    assert "sure" not in second
    assert "40.0 %" not in second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "a", "--variant", "onnx-int9"], "has no such model; it has teacher, student, onnx, onnx-fused"),
        (["RUN", "a", "--task", "translation"], "tells what it is for; leave it out"),
        (["RUN"], "standard input has no lines; give texts, --file, or lines on standard input"),
        (["RUN", "a", "--file", "rows.csv"], "--file: its rows are what is asked; leave out texts and --pair"),
        (["RUN", "--file", "none.csv"], "none.csv: no such file"),
        (["RUN", "--file", "none.txt"], "none.txt: no such file"),
        (["RUN", "--file", "BINARY"], "binary.txt:1: not text but binary data (a zero byte)"),
        (["RUN", "--file", "BLANK"], "blank.txt: there are no lines"),
        (["RUN", "--file", "ROWS"], "rows.jsonl:1: field 'text' is missing; it has words"),
        (["RUN", "a", "--pair", "b"], "student reads single texts: leave out text_pairs"),
        (["EMPTY", "a"], "not a model folder (config.json is missing)"),
        (["MODEL", "a", "--task", "parsing"], "--task parsing: there is none; name one of text-classification"),
        (["MODEL", "a", "--variant", "onnx"], "is one model; leave it out"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments: list[str], message: str, finished_run: Path, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"words": "a"}\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.txt").write_bytes(b"a\0b")
    (tmp_path / "blank.txt").write_text(" \n\n")
    places = {"RUN": finished_run, "MODEL": finished_run / "student", "ROWS": tmp_path / "rows.jsonl"}
    places |= {"BINARY": tmp_path / "binary.txt", "BLANK": tmp_path / "blank.txt"}
    given = [str(places.get(argument, argument)) for argument in arguments]
    done = CliRunner().invoke(app, ["predict", *(given if given[0] != "EMPTY" else [str(tmp_path / "empty"), "a"])])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
