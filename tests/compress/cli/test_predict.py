"""`compress predict`: a run's model, a bundle's and any other say the same of the same texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from rich.console import Console
from transformers import AutoModelForSequenceClassification, BertConfig
from typer.testing import CliRunner

from compress.cli.app import app
from compress.cli.predict import _table
from compress.cli.results import Said
from compress.models.load import save_tokenizer
from compress.models.tokenizers import train_tokenizer
from compress.recipe.training import NewTokenizer

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of two labels."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["5 % 14. März 2024", "ein Text"], NewTokenizer(), 16)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes)
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


def test_a_model_is_asked_about_pairs_where_pairs_are_given(model: Path, tmp_path: Path):
    one, other = said(model, "5 %", "--pair", "a")["answers"], said(model, "5 %", "--pair", "14. März 2024")["answers"]
    assert one[0]["text_pair"] == "a"
    assert one[0]["probabilities"] != other[0]["probabilities"]
    rows = tmp_path / "pairs.jsonl"
    rows.write_text(json.dumps({"text": "5 %", "text_pair": "a"}) + "\n")
    assert said(model, "--file", rows)["answers"] == one
    assert said(model, "5 %")["answers"][0]["text_pair"] is None


def test_a_tokenizer_that_splits_the_texts_otherwise_than_its_file_is_refused(model: Path, tmp_path: Path):
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model/tokenizer.json").unlink()
    (tmp_path / "model/tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["5 % 14. März 2024"] * 9),
        model_prefix=str(tmp_path / "model/spiece"),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "model"), *_TEXTS])
    assert done.exit_code == 2
    told = " ".join(done.stderr.split())
    assert "(BertTokenizer) splits 2 of 2 texts otherwise than its spiece.model: " in told
    assert "of the tokens in these texts are others" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--revision", "main"], "is a folder, of which there is one only; leave it out"),
        (["--token", "hf_abc"], "teacher.token: must be the name of an environment variable"),
        (["--subfolder", "none"], "not a model folder (config.json is missing)"),
    ],
)
def test_how_a_model_is_reached_is_told(model: Path, options: list[str], message: str):
    done = CliRunner().invoke(app, ["predict", str(model), "5 %", *options])
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


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
        (["RUN", "a", "--task", "translation"], "tells that of its models; leave it out"),
        (["RUN"], "standard input has no lines; give texts, --file, or lines on standard input"),
        (["RUN", "a", "--file", "rows.csv"], "--file: its rows are what is asked; leave out texts and --pair"),
        (["RUN", "--file", "none.csv"], "none.csv: no such file"),
        (["RUN", "--file", "none.txt"], "none.txt: no such file"),
        (["RUN", "--file", "BINARY"], "binary.txt:1: not text but binary data (a zero byte)"),
        (["RUN", "--file", "BLANK"], "blank.txt: there are no lines"),
        (["RUN", "--file", "ROWS"], "rows.jsonl:1: field 'text' is missing; it has words"),
        (["RUN", "a", "--pair", "b"], "student reads single texts: leave out --pair"),
        (["RUN", "a", "--trust-remote-code"], "tells that of its models; leave it out"),
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
