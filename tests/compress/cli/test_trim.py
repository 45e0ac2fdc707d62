"""`compress trim` as users meet it."""

import json
from pathlib import Path

import pytest
import small_vocabularies
from typer.testing import CliRunner

from compress.cli.app import app
from compress.models.load import save_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    made, tokenizer = small_vocabularies.build("WordPiece", folder)
    made.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "de.txt"
    path.write_text("\n".join(small_vocabularies.texts()["de"]), "utf-8")
    return path


def test_it_prints_what_is_kept_and_what_each_language_loses(model: Path, text: Path, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    found = [{"text": text, "lang": lang} for lang in ("de", "th") for text in small_vocabularies.texts()[lang]]
    rows.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    call = ["trim", str(model), "--text", str(text), "--report-text", str(rows), "--output", str(tmp_path / "new")]
    done = CliRunner().invoke(app, [*call, "--keep", "[MASK]", "--tokens", "600", "--max-loss", "50", "--json"])
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["tokens_after"] <= 600 < told["tokens_before"]
    assert told["used"].keys() == {"de"}
    assert told["held_out"]["th"]["lost_share"] > told["held_out"]["de"]["lost_share"]
    assert f"{tmp_path / 'new'}: {told['tokens_after']:,} of 1,505 rows kept, " in done.stderr
    assert "report text" in done.stderr
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 2
    assert "it exists already" in again.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "{folder}/binary.txt"], "binary.txt:1: not text but binary data (a zero byte)"),
        (["--text", "{folder}/none.txt"], "none.txt: no such file or folder of text"),
        (["--text", "{folder}/de.txt", "--max-loss", "0"], "max_loss: de would lose"),
        (["--text", "{folder}/de.txt", "--coverage", "2"], "teacher.vocabulary.coverage"),
        (["--text", "{folder}/de.txt", "--minimum-count", "1000000"], "would drop all tokens"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(model: Path, text: Path, options: list[str], message: str):
    folder = text.parent
    (folder / "binary.txt").write_bytes(b"\x00\x01\x02")
    before = sorted(folder.iterdir())
    call = ["trim", str(model), "--output", str(folder / "new"), *(option.format(folder=folder) for option in options)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_is_no_model_is_refused(text: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for model in ("empty", "none"):
        done = CliRunner().invoke(
            app, ["trim", str(tmp_path / model), "--text", str(text), "--output", str(tmp_path / "new")]
        )
        assert done.exit_code == 2
        assert f"{tmp_path / model}" in done.stderr
        assert len(done.stderr.splitlines()) <= 2
        assert not (tmp_path / "new").exists()
