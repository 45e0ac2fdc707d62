"""Rows for calibration: evenly over languages and lengths; never of one language only."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_translators
import tiny_runs

from compress.data.encode import spread_over_languages_and_lengths
from compress.data.stage import load_data
from compress.runs.directory import find_run
from compress.runtimes.generation import DECODER, DECODER_WITH_PAST, ENCODER, Search
from export.quantize.calibration import calibration_batches, translating
from export.quantize.ranges import watched
from export.stage import run_export_stages


def test_rows_are_drawn_evenly_over_languages_and_lengths():
    languages = ["de"] * 1000 + ["en"] * 100 + ["ja"] * 5
    lengths = [*range(1000), *range(100), *range(5)]
    chosen = spread_over_languages_and_lengths(languages, lengths, 45)
    counts = {language: sum(languages[index] == language for index in chosen) for language in ("de", "en", "ja")}
    assert counts == {"de": 20, "en": 20, "ja": 5}  # what a small language cannot give, the others do
    german = [lengths[index] for index in chosen if languages[index] == "de"]
    assert german[0] == 0
    assert german[-1] == 999
    assert np.ptp(np.diff(german)) <= 1
    assert spread_over_languages_and_lengths(languages, lengths, 10_000) == list(range(1105))


def test_calibration_reads_rows_of_all_lengths(finished_run: Path):
    run = find_run(finished_run, finished_run.parent, {"export.calibration.rows": 30})
    batches = calibration_batches(run, load_data(run), finished_run / "onnx")
    assert sum(len(batch["input_ids"]) for batch in batches) == 30
    assert len({batch["input_ids"].shape[1] for batch in batches}) > 1


def test_of_a_decoder_s_steps_few_are_shown_from_the_first_to_the_last(exported_translator):
    folder = exported_translator("marian")
    tokens = np.random.default_rng(0).integers(4, small_translators.TOKENS, (3, 6))
    batches = [{"input_ids": tokens, "attention_mask": np.ones_like(tokens)}] * 2
    calibrate = translating(batches, Search(beams=1, length_penalty=1.0, max_tokens=20))
    past, shown = "past_key_values.0.decoder.key", {}
    for name, value in ((ENCODER, "input_ids"), (DECODER, "input_ids"), (DECODER_WITH_PAST, past)):
        shown[name] = seen = []
        watched(folder / name, [value], calibrate)(lambda values, seen=seen, value=value: seen.append(values[value]))
    assert [len(shown[name]) for name in (ENCODER, DECODER)] == [2, 2]
    assert [array.shape[2] for array in shown[DECODER_WITH_PAST]] == [1, 2, 4, 8, 16] * 2


@pytest.fixture
def english_rows(finished_run: Path, tmp_path: Path) -> Path:
    """A run whose training rows are of one language, its data of three."""
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    path = run / "data/train.jsonl"
    rows = [line for line in path.read_text("utf-8").splitlines() if json.loads(line)["lang"] == "en"]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    tiny_runs.record_again(run, "data")
    return run


def test_where_nobody_has_named_it_what_such_rows_cannot_calibrate_is_left_out(english_rows: Path):
    usual = {"export.variants": None, "export.tensorrt.enabled": False}
    exported = run_export_stages(find_run(english_rows, english_rows.parent, usual))
    assert list(exported.variants) == ["onnx", "onnx-fused", "onnx-int8"]
    assert list(exported.left_out) == ["onnx-static"]
    assert "the train rows are all en, but the data has de, en, ja" in exported.left_out["onnx-static"]


def test_rows_of_one_language_are_refused(english_rows: Path, compress_command):
    done = compress_command("export", english_rows, "--variants", "onnx-static")
    assert done.returncode == 2
    assert "error: export.calibration: the train rows are all en, but the data has de, en, ja" in done.stderr
    assert "--set export.calibration.split=validation" in done.stderr
    assert not (english_rows / "onnx-static").exists()
    mended = compress_command(
        "export", english_rows, "--variants", "onnx-static", "--set", "export.calibration.split=validation"
    )
    assert mended.returncode == 0, mended.stderr
    assert (english_rows / "onnx-static/model.onnx").exists()
