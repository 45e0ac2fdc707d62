"""The search for the fastest form within a budget: its decisions on made-up figures, and a whole one on a real run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from compress.data.stage import load_data
from compress.errors import CompressError, RejectedVariantError
from compress.metrics.figures import LanguageLosses, WorstLoss
from compress.runs.directory import find_run
from compress.targets import TARGETS
from compress.tasks.registry import task_named
from export.search.frontier import frontier_of
from export.search.report import Candidate, LayerSensitivity, SearchReport, Trial, read_search
from export.search.stage import search
from export.search.trials import TrialRunner, usual_candidates
from export.variants.making import ingredients_of
from export.variants.sample import draw_sample
from export.variants.summary import variant_stage

LAYERS = [LayerSensitivity(layer=f"layer {number}", difference=9 - number) for number in range(9)]


def losses(points: float) -> LanguageLosses:
    worst = WorstLoss(value=points / 100, low=points / 100, high=points / 100, language="en")
    return LanguageLosses(metric="accuracy", drop={}, worst_language_drop=worst)


def trial_of(candidate: Candidate, faster: float, searched: float, confirmed: float, size: int = 100) -> Trial:
    return Trial(
        name=candidate.name,
        candidate=candidate,
        bytes=size,
        p50_ms=1 / faster,
        faster=faster,
        search=losses(searched),
        confirmation=losses(confirmed),
    )


class MadeUp:
    """A runner whose trials have the figures that are given: speed, and points lost on both halves of the rows."""

    def __init__(self, **figures: tuple[float, float, float]):
        self.figures = figures
        self.tried: list[Candidate] = []
        self.target = TARGETS["cpu-vnni"]
        self.sample = SimpleNamespace(rows=[SimpleNamespace(lang="en")] * 200, task=task_named("text-classification"))
        self.candidates = [
            Candidate(variant="onnx-fused"),
            Candidate(variant="onnx-int8"),
            Candidate(variant="onnx-static", calibration="minmax"),
        ]

    def trial(self, candidate: Candidate) -> Trial:
        self.tried.append(candidate)
        name = candidate.variant.removeprefix("onnx-")
        if candidate.excluded:
            name = f"{name}_without_{len(candidate.excluded)}"
        return trial_of(candidate, *self.figures.get(name, (1.0 if name == "fused" else 0.5, 0.0, 0.0)))

    def sensitivity(self, candidate: Candidate) -> list[LayerSensitivity]:
        return LAYERS


def searched_with(runner: MadeUp, points: float) -> SearchReport:
    return search(runner, points)  # type: ignore[arg-type]


def test_the_fastest_within_the_budget_is_chosen():
    report = searched_with(MadeUp(int8=(2.0, 0.9, 1.0), static=(1.8, 0.0, 0.0)), 1.0)
    assert report.chosen.candidate.variant == "onnx-int8"
    assert report.sensitivity == []  # nothing to find out
    assert [trial.chosen for trial in report.trials].count(True) == 1
    assert report.trials[0].chosen


@pytest.mark.parametrize(("task", "told"), [("text-classification", True), ("regression", False)])
def test_few_rows_are_too_few_where_a_row_is_right_or_wrong(task: str, told: bool, capsys: pytest.CaptureFixture[str]):
    runner = MadeUp()
    runner.sample.rows, runner.sample.task = runner.sample.rows[:20], task_named(task)
    searched_with(runner, 1.0)
    assert ("no row may change" in " ".join(capsys.readouterr().err.split())) is told


def test_what_does_not_hold_on_the_other_half_is_not_chosen(capsys: pytest.CaptureFixture[str]):
    report = searched_with(MadeUp(int8=(2.0, 0.2, 3.0), int8_without_1=(1.9, 0.0, 0.5)), 1.0)
    assert report.chosen.name == "onnx-int8, 1 layer in 32 bits"
    assert "onnx-int8 is faster, but loses too much on the rows that confirm" in capsys.readouterr().err


def test_the_worst_layers_are_left_in_32_bits_first():
    runner = MadeUp(int8=(2.0, 5.0, 5.0), int8_without_1=(1.9, 3.0, 3.0), int8_without_2=(1.8, 0.5, 0.5))
    report = searched_with(runner, 1.0)
    assert report.chosen.candidate.excluded == ("layer 0", "layer 1")
    assert len(runner.tried[-1].excluded) == 2  # no more than is needed


def test_a_form_that_could_not_be_timed_in_peace_is_not_chosen_from():
    runner = MadeUp(int8=(2.0, 0.0, 0.0))
    timed = runner.trial
    runner.trial = lambda candidate: timed(candidate).model_copy(update={"noisy": candidate.variant == "onnx-int8"})
    with pytest.raises(CompressError, match=r"^search: too noisy: other work had the processor while onnx-int8 was"):
        searched_with(runner, 1.0)


def test_what_differs_by_less_than_the_same_form_twice_is_noise(capsys: pytest.CaptureFixture[str]):
    """The student in 32 bits seems 0.8 times as fast as itself: int8 at 1.2 times that is not worth a look."""
    runner = MadeUp(fused=(0.8, 0.0, 0.0), int8=(0.95, 5.0, 5.0))
    assert searched_with(runner, 1.0).sensitivity == []
    assert "the same form timed twice differs by 25 %" in capsys.readouterr().err


def test_where_nothing_holds_the_student_in_32_bits_remains():
    too_much = (2.0, 5.0, 5.0)
    names = ("int8", "int8_without_1", "int8_without_2", "int8_without_4")
    report = searched_with(MadeUp(**dict.fromkeys(names, too_much)), 1.0)
    assert report.chosen.candidate.variant == "onnx-fused"


def test_a_form_that_does_not_come_out_as_it_should_is_left_out(capsys: pytest.CaptureFixture[str]):
    class Refusing(MadeUp):
        def trial(self, candidate: Candidate) -> Trial:
            if candidate.variant == "onnx-int8":
                raise RejectedVariantError("model.onnx: quantised, classifier stayed in 32 bits")
            return super().trial(candidate)

    report = searched_with(Refusing(static=(1.8, 0.0, 0.0)), 1.0)
    assert report.chosen.candidate.variant == "onnx-static"
    assert "search: onnx-int8 is left out: model.onnx: quantised, classifier stayed" in capsys.readouterr().err


def test_a_budget_below_what_a_row_counts_is_said(capsys: pytest.CaptureFixture[str]):
    searched_with(MadeUp(int8=(2.0, 0.0, 0.0)), 0.5)
    assert "one of the 100 rows of en counts 1.0 points, more than the budget of 0.5" in capsys.readouterr().err


def test_the_frontier_has_what_nothing_beats():
    def trial(faster: float, size: int, drop: float) -> Trial:
        return trial_of(Candidate(variant="onnx-int8"), faster, drop, 0.0, size)

    trials = [trial(2.0, 10, 2.0), trial(1.0, 40, 0.0), trial(1.9, 12, 3.0), trial(0.8, 8, 2.0)]
    assert frontier_of(trials) == [trials[0], trials[1], trials[3]]


def test_forms_of_every_kind_are_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("export.search.trials.without_bf16", lambda: "it has no instructions for bf16")
    tried = [candidate.name for candidate in usual_candidates(task_named("text-classification"))]
    static = [f"onnx-static, {method}" for method in ("minmax", "entropy", "percentile")]
    assert tried == ["onnx-fused", "onnx-int8", *static, "onnx-int4", "openvino-int8"]
    assert [candidate.name for candidate in usual_candidates(task_named("translation"))] == tried
    in_old_runtimes = [candidate.name for candidate in usual_candidates(task_named("text-classification"), opset=18)]
    assert in_old_runtimes == [name for name in tried if name != "onnx-int4"]
    monkeypatch.setattr("export.search.trials.without_bf16", lambda: None)
    here = [candidate.name for candidate in usual_candidates(task_named("text-classification"))]
    assert set(here) - set(tried) == {"openvino-bf16"}


def test_a_report_that_is_not_there_or_damaged_is_an_error_in_one_line(tmp_path: Path):
    with pytest.raises(CompressError, match=r"search.json: cannot be read .*; search again with `compress export --b"):
        read_search(tmp_path)
    (tmp_path / "search.json").write_text("{}")
    with pytest.raises(CompressError, match=r"search.json: not as it must be: budget: Field required; search again"):
        read_search(tmp_path)


@pytest.fixture(scope="module")
def searched(finished_run: Path, tmp_path_factory: pytest.TempPathFactory, compress_command) -> Path:
    run = tmp_path_factory.mktemp("search") / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--budget", "100")
    assert done.returncode == 0, done.stderr
    (run / "stdout.txt").write_text(done.stdout, "utf-8")
    return run


def test_a_search_leaves_a_variant_a_report_and_a_plot(searched: Path):
    report = read_search(searched / "onnx-chosen")
    assert {trial.candidate.variant for trial in report.trials} >= {
        "onnx-fused",
        "onnx-int8",
        "onnx-static",
        "onnx-int4",
    }
    for trial in report.trials:
        assert trial.p50_ms > 0
        for half in (trial.search, trial.confirmation):
            assert set(half.drop) == {"de", "en", "ja", "all"}
    speeds = [trial.faster for trial in report.trials]
    assert speeds == sorted(speeds, reverse=True)
    assert report.trials[0].chosen  # anything is allowed: the fastest
    assert (searched / "onnx-chosen/tokenizer.json").exists()
    assert (searched / "onnx-chosen/frontier.png").read_bytes().startswith(b"\x89PNG")
    assert f"→ │ {report.chosen.name}" in (searched / "stdout.txt").read_text("utf-8")
    summary = find_run(searched, searched.parent).summary(variant_stage("onnx-chosen"))
    assert (summary.form, summary.parent) == (report.chosen.candidate.variant, "onnx")
    assert summary.parity is not None
    if report.chosen.candidate.form.runtime == "ONNX Runtime":
        onnx.checker.check_model(onnx.load(searched / "onnx-chosen/model.onnx"), full_check=False)


def test_trials_are_kept_for_the_next_search(searched: Path, compress_command):
    strict = "export.parity.int8={max_difference: 0.000001, agreement: 1.0}"
    again = compress_command("export", searched, "--budget", "90", "--set", strict, "--set", "export.variants=null")
    assert again.returncode == 0, again.stderr
    assert "search: onnx-int8" not in again.stderr  # not tried again
    assert "search: trying" not in again.stderr
    assert read_search(searched / "onnx-chosen").budget == 90
    # A variant that nobody has asked for is too far from its parent: a finding, and the search goes on.
    assert "onnx-int8: too far from onnx-fused on 60 rows: outputs differ by up to" in again.stderr
    assert "onnx-int8" in again.stdout
    assert "left out" in again.stdout
    assert "too far from onnx-fused on 60 rows" in " ".join(again.stdout.split())


def test_layers_are_ranked_by_how_far_they_move_the_outputs(searched: Path):
    run = find_run(searched, searched.parent)
    data = load_data(run)
    ingredients = ingredients_of(run, data, TARGETS["cpu-avx2"])
    runner = TrialRunner(run, ingredients, draw_sample(run, data, 120), searched / "trials/by-hand")
    entries = runner.sensitivity(Candidate(variant="onnx-int8"))
    assert [entry.difference for entry in entries] == sorted((e.difference for e in entries), reverse=True)
    assert any("embeddings" in entry.layer for entry in entries)


def test_a_gpu_cannot_be_searched_for(searched: Path, compress_command):
    done = compress_command("export", searched, "--budget", "1", "--target", "cuda-sm89")
    assert done.returncode == 2
    assert "error: --budget: the search times every form on this machine's processor" in done.stderr
