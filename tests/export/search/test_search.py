"""The search for the fastest form within a budget: its decisions on made-up figures, and a whole one on a real run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from compress.targets import TARGETS
from export.search.frontier import frontier_of
from export.search.stage import search
from export.search.trials import Candidate

LAYERS = [{"layer": f"layer {number}", "title": "", "difference": 9 - number} for number in range(9)]


class MadeUp:
    """A runner whose trials have the figures that are given: speed, and points lost on both halves of the rows."""

    def __init__(self, **figures: tuple[float, float, float]):
        self.figures = figures
        self.tried: list[Candidate] = []
        self.target = TARGETS["cpu-vnni"]
        self.rows = [SimpleNamespace(lang="en")] * 200
        self.halves = (list(range(100)), list(range(100, 200)))
        self.candidates = [
            Candidate("onnx-fused"),
            Candidate("onnx-int8"),
            Candidate("onnx-static", calibration="minmax"),
        ]

    def trial(self, candidate: Candidate) -> dict[str, Any]:
        self.tried.append(candidate)
        name = candidate.variant.removeprefix("onnx-")
        if candidate.retrained:
            name = "retrained"
        elif candidate.excluded:
            name = f"{name}_without_{len(candidate.excluded)}"
        faster, *drops = self.figures.get(name, (0.5, 0.0, 0.0) if name != "fused" else (1.0, 0.0, 0.0))
        judged = [{"metric": "accuracy", "worst_language_drop": {"language": "en", "value": d / 100}} for d in drops]
        return {
            "variant": candidate.variant,
            "excluded": candidate.excluded,
            "calibration": candidate.calibration,
            "retrained": candidate.retrained,
            "name": candidate.name,
            "bytes": 100,
            "p50_ms": 1 / faster,
            "faster": faster,
            "search": judged[0],
            "confirmation": judged[1],
        }

    def sensitivity(self, candidate: Candidate) -> list[dict[str, Any]]:
        return LAYERS


def test_the_fastest_within_the_budget_is_chosen():
    report = search(MadeUp(int8=(2.0, 0.9, 1.0), static=(1.8, 0.0, 0.0)), 1.0)
    assert report["chosen"]["variant"] == "onnx-int8"
    assert report["sensitivity"] == []  # nothing to find out
    assert [trial["chosen"] for trial in report["trials"]].count(True) == 1
    assert report["trials"][0]["chosen"]


def test_what_does_not_hold_on_the_other_half_is_not_chosen(capsys: pytest.CaptureFixture[str]):
    report = search(MadeUp(int8=(2.0, 0.2, 3.0), int8_without_1=(1.9, 0.0, 0.5)), 1.0)
    assert report["chosen"]["name"] == "onnx-int8, 1 layer in 32 bits"
    assert "onnx-int8 is faster, but loses too much on the rows that confirm" in capsys.readouterr().err


def test_the_worst_layers_are_left_in_32_bits_first():
    runner = MadeUp(int8=(2.0, 5.0, 5.0), int8_without_1=(1.9, 3.0, 3.0), int8_without_2=(1.8, 0.5, 0.5))
    report = search(runner, 1.0)
    assert report["chosen"]["excluded"] == ("layer 0", "layer 1")
    assert not any(candidate.retrained for candidate in runner.tried)


def test_retraining_comes_last():
    too_much = (1.9, 4.0, 4.0)
    runner = MadeUp(
        int8=(2.0, 5.0, 5.0),
        int8_without_1=too_much,
        int8_without_2=too_much,
        int8_without_4=too_much,
        retrained=(2.0, 0.5, 0.2),
    )
    report = search(runner, 1.0)
    assert report["chosen"]["retrained"]
    assert runner.tried[-1].retrained


def test_where_nothing_holds_the_student_in_32_bits_remains():
    too_much = (2.0, 5.0, 5.0)
    names = ("int8", "int8_without_1", "int8_without_2", "int8_without_4", "retrained")
    report = search(MadeUp(**dict.fromkeys(names, too_much)), 1.0)
    assert report["chosen"]["variant"] == "onnx-fused"


def test_a_budget_below_what_a_row_counts_is_said(capsys: pytest.CaptureFixture[str]):
    search(MadeUp(int8=(2.0, 0.0, 0.0)), 0.5)
    assert "one of the 100 rows of en counts 1.0 points, more than the budget of 0.5" in capsys.readouterr().err


def test_the_frontier_has_what_nothing_beats():
    def trial(faster: float, size: int, drop: float) -> dict[str, Any]:
        return {"faster": faster, "bytes": size, "search": {"worst_language_drop": {"value": drop}}}

    trials = [trial(2.0, 10, 0.02), trial(1.0, 40, 0.0), trial(1.9, 12, 0.03), trial(0.8, 8, 0.02)]
    assert frontier_of(trials) == [trials[0], trials[1], trials[3]]


@pytest.fixture(scope="module")
def searched(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, compress_command) -> Path:
    run = tmp_path_factory.mktemp("search") / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--budget", "100", "--json")
    assert done.returncode == 0, done.stderr
    (run / "stdout.json").write_text(done.stdout, "utf-8")
    return run


def test_a_search_leaves_a_variant_a_report_and_a_plot(searched: Path):
    report = json.loads((searched / "onnx-chosen/search.json").read_text())
    assert {trial["variant"] for trial in report["trials"]} >= {"onnx-fused", "onnx-int8", "onnx-static", "onnx-int4"}
    for trial in report["trials"]:
        assert trial["p50_ms"] > 0
        for half in ("search", "confirmation"):
            assert set(trial[half]["drop"]) == {"de", "en", "ja", "all"}
    speeds = [trial["faster"] for trial in report["trials"]]
    assert speeds == sorted(speeds, reverse=True)
    assert report["trials"][0]["chosen"]  # anything is allowed: the fastest
    onnx.checker.check_model(onnx.load(searched / "onnx-chosen/model.onnx"), full_check=False)
    assert (searched / "onnx-chosen/tokenizer.json").exists()
    assert (searched / "onnx-chosen/frontier.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((searched / "stdout.json").read_text())["variants"]["onnx-chosen"]
    assert told["chosen"]["name"] == report["chosen"]["name"]


def test_trials_are_kept_for_the_next_search(searched: Path, compress_command):
    again = compress_command("export", searched, "--budget", "90")
    assert again.returncode == 0, again.stderr
    assert "search: onnx-int8" not in again.stderr  # not tried again
    assert json.loads((searched / "onnx-chosen/search.json").read_text())["budget"] == 90


def test_a_retrained_student_is_tried_and_takes_up_again(searched: Path):
    from compress.data.stage import load_data
    from compress.runs.directory import find_run
    from export.search.trials import TrialRunner

    run = find_run(searched, searched.parent)
    runner = TrialRunner(run, load_data(run), TARGETS["cpu-avx2"], searched / "trials/by-hand")
    trial = runner.trial(Candidate("onnx-int8", retrained=True))
    assert trial["name"] == "onnx-int8, retrained"
    assert trial["search"]["worst_language_drop"]["value"] < 0.2
    assert (searched / "trials/by-hand/retrained-onnx/model.onnx").exists()
    entries = runner.sensitivity(Candidate("onnx-int8"))
    assert [entry["difference"] for entry in entries] == sorted((e["difference"] for e in entries), reverse=True)
    assert any("embeddings" in entry["title"] for entry in entries)


def test_a_gpu_cannot_be_searched_for(searched: Path, compress_command):
    done = compress_command("export", searched, "--budget", "1", "--target", "cuda-sm89")
    assert done.returncode == 2
    assert "error: --budget: the search times every form on this machine's processor" in done.stderr
