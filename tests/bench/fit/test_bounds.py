"""What users write as bounds."""

from pathlib import Path

import pytest

from bench.fit.bounds import parse_bounds
from compress.errors import CompressError


def test_the_third_is_the_objective():
    assert parse_bounds("2ms", "10MB", None).objective == "drop"
    assert parse_bounds("2ms", None, 1.0).objective == "size"
    assert parse_bounds(None, "10MB", 1.0).objective == "latency"


@pytest.mark.parametrize(
    ("latency", "size", "milliseconds", "size_bytes"),
    [
        ("2ms", "10MB", 2.0, 10_000_000),
        ("0.5 s", "1.5GiB", 500.0, 1_610_612_736),
        ("800us", "500kB", 0.8, 500_000),
        (".5ms", "1 MiB", 0.5, 1_048_576),
    ],
)
def test_amounts_have_units(latency: str, size: str, milliseconds: float, size_bytes: int):
    bounds = parse_bounds(latency, size, None)
    assert bounds.latency_ms == pytest.approx(milliseconds)
    assert bounds.size_bytes == size_bytes


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("2ms", "10MB", 1.0), r"give two of .* \(here: --max-latency, --max-size, --max-drop\); the third"),
        (
            ("2ms", None, None),
            r"give two of --max-latency, --max-size and --max-drop \(here: --max-latency\); the third is made",
        ),
        ((None, None, None), r"\(here: none\)"),
        (("2", "10MB", None), r"--max-latency 2: expected a number and a unit \(us, µs, ms, s\), for example 2ms"),
        (("2 hours", "10MB", None), "--max-latency 2 hours: expected a number and a unit"),
        (("-2ms", "10MB", None), "--max-latency -2ms: expected a number"),
        (("0ms", "10MB", None), "--max-latency 0ms: must be more than 0"),
        (("2ms", "10", None), r"--max-size 10: expected a number and a unit \(kB, KB, MB, GB"),
        (("2ms", "10mb", None), "--max-size 10mb: expected"),
        (("2ms", None, -1.0), "--max-drop -1: points that a language may lose, from 0 to 100"),
        (("2ms", None, float("nan")), "--max-drop nan: points"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(given: tuple, told: str):
    with pytest.raises(CompressError, match=told):
        parse_bounds(*given)


TWO = ["--max-size", "1MB", "--max-drop", "1"]
TOKENS = ["-s", "data.plain_text=[more.txt]"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--max-size", "1MB"], "give two of --max-latency, --max-size and --max-drop (here: --max-size)"),
        ([*TWO, "--target", "cpu-arm"], "--target cpu-arm: latency is measured on"),
        ([*TWO, "--target", "cuda-sm86"], "--target cuda-sm86: latency is measured"),
        ([*TWO, "-s", "student.kind=as-is"], "student.kind: as-is means that there"),
        ([*TWO, "-s", "student.kind=static"], "student.kind: static has no layers to"),
        ([*TWO, *TOKENS, "-s", "student.tokenizer={}"], "data.plain_text says which tokens are kept, and all are"),
        ([*TWO, *TOKENS, "-s", "student.distillation.hidden.weight=1"], "data.plain_text says which tokens are kept"),
    ],
)
def test_what_cannot_be_done_leaves_no_run_behind(options: list[str], told: str, tmp_path: Path, compress_command):
    done = compress_command("fit", *options, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert f"error: {told}" in done.stderr
    assert not (tmp_path / "out").exists()
