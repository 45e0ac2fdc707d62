"""A whole fit on a small teacher: what is left behind, killed and gone on with, and run again."""

from collections.abc import Iterator
from pathlib import Path

import fitting
import pytest
import yaml
from tiny_runs import tiny_recipe

import bench.fit.trials
from bench.fit.bounds import FitBounds
from bench.fit.forms import FormMaker
from bench.fit.report import FitReport
from bench.fit.stage import run_fit_stage
from compress.cli import commands
from compress.recipe.file import load_recipe
from compress.recipe.recipe import Recipe
from compress.recipe.student import Student
from compress.runs.directory import Run, open_run
from compress.runs.files import file_sha256
from compress.student.summary import STUDENT

pytestmark = pytest.mark.slow
SMALL = 85_000  # bytes: of the teacher, 2x64, all shapes but one are so small
BOUNDS = FitBounds(size_bytes=SMALL, points=100)


class Killed(BaseException):
    """As a kill: nothing catches it."""


@pytest.fixture(scope="module", autouse=True)
def steady_times() -> Iterator[None]:
    with fitting.steady_times():
        yield


def fitted(run: Run, bounds: FitBounds = BOUNDS, most: int = 3) -> FitReport:
    return run_fit_stage(run, bounds, most)


@pytest.fixture(scope="module")
def taught(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with data and a small teacher."""
    recipe = tiny_recipe(data_folder)
    recipe["teacher"]["scratch"] |= {"layers": 2, "feed_forward_size": 64}
    recipe["student"]["training"]["epochs"] = 2
    recipe["student"]["tokenizer"] = {"vocabulary_size": 400}  # with it no student is static
    run = open_run(Recipe.model_validate(recipe), tmp_path_factory.mktemp("fit"))
    commands.taught(run)
    return run


@pytest.fixture(scope="module")
def killed(taught: Run) -> Run:
    """A fit that was killed after its second training, before anything of that was written down."""
    trainings = []

    def distil(*arguments: object, **named: object) -> object:
        trainings.append(named["trial"])
        found = real(*arguments, **named)  # type: ignore[arg-type]
        if len(trainings) == 2:
            raise Killed
        return found

    real = bench.fit.trials.distil
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.fit.trials.distil", distil)
        with pytest.raises(Killed):
            fitted(taught)
    return taught


@pytest.fixture(scope="module")
def report(killed: Run) -> FitReport:
    """The same fit, gone on with: what was measured is not made again, what was trained goes on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FormMaker, "untrained", lambda *_: pytest.fail("measured once more"))
        return fitted(killed)


def test_what_is_within_the_bounds_is_trained_and_nothing_else(report: FitReport):
    trained = [trial for trial in report.trials if trial.rungs]
    assert len(trained) == 3
    assert all(trial.cost.bytes <= SMALL and not trial.cost.estimated for trial in trained)
    beyond = [trial for trial in report.trials if trial.cost.bytes > SMALL]
    assert beyond
    assert all(trial.outcome == "too large" and not trial.rungs for trial in beyond)


def test_the_fastest_is_chosen_and_confirmed_on_the_test_rows(report: FitReport):
    """Any drop is allowed: all are trained a little, the fastest to its end."""
    assert report.fits
    assert report.epochs == [1, 2]
    chosen = report.chosen
    assert chosen is not None
    assert chosen.cost.p50_ms == min(trial.cost.p50_ms for trial in report.trials if trial.rungs)
    assert [rung.epochs for rung in chosen.rungs] == [1, 2]
    assert {trial.outcome for trial in report.trials if trial.rungs} == {"chosen", "stopped after 1 epoch"}
    assert chosen.frontier
    assert report.confirmation is not None
    assert set(report.confirmation.losses.drop) == {"de", "en", "ja", "all"}
    assert report.confirmation.cost.bytes == pytest.approx(chosen.cost.bytes, rel=0.02)  # trained as untrained


def test_report_plot_and_recipe_are_left_and_checkpoints_are_not(report: FitReport, killed: Run):
    folder = killed.folder / "fit"
    assert FitReport.model_validate_json((folder / "fit.json").read_bytes()) == report
    assert (folder / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert list((killed.folder / "trials").glob("fit-*/*/cost.json"))
    assert not list((killed.folder / "trials").glob("fit-*/*/training"))


def test_the_recipe_finds_the_student_made(report: FitReport, killed: Run, capsys: pytest.CaptureFixture[str]):
    assert report.chosen is not None
    recipe = load_recipe(killed.folder / "fit" / "recipe.yaml")
    assert recipe.student.layers == report.chosen.candidate.layers
    commands.distill(Run(killed.folder, recipe), in_json=False)
    assert "student: unchanged, skipped" in capsys.readouterr().err


def test_the_recipe_alone_gives_the_same_student(report: FitReport, killed: Run, tmp_path: Path, compress_command):
    """From the rows on, teacher included."""
    done = compress_command("distill", killed.folder / "fit" / "recipe.yaml", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    ours, theirs = (run / "student/model.safetensors" for run in (killed.folder, tmp_path / "tiny"))
    assert file_sha256(ours) == file_sha256(theirs)


def test_other_bounds_find_the_trials_and_where_nothing_is_small_enough_nothing_is_trained(
    report: FitReport, killed: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bench.fit.trials.distil", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr(FormMaker, "untrained", lambda *_: pytest.fail("measured once more"))
    again = fitted(Run(killed.folder, load_recipe(killed.folder / "recipe.yaml")), FitBounds(size_bytes=999, points=1))
    assert not again.fits
    assert again.chosen is None
    smallest = min((trial for trial in again.trials if not trial.cost.estimated), key=lambda trial: trial.cost.bytes)
    assert "no student of this teacher is within 0.000999 MB and a worst-language drop of 1 points" in again.why
    assert f"nearest is the smallest one, {smallest.name}: " in again.why
    assert not (killed.folder / "fit" / "recipe.yaml").exists()


def test_the_command_shows_what_was_chosen_and_why(report: FitReport, killed: Run, tmp_path: Path, compress_command):
    """Every trial is known by now."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(killed.recipe.model_dump(mode="json")))
    options = ("--max-size", "85kB", "--max-drop", "100", "--trials", "3", "--output", killed.folder.parent)
    done = compress_command("fit", recipe, *options)
    assert done.returncode == 0, done.stderr
    assert report.why in " ".join(done.stdout.split())
    assert f"recipe: {killed.folder}/fit/recipe.yaml; export and measure it: compress run " in done.stdout
    assert "chosen" in done.stdout


def test_a_static_student_is_found_with_copies_of_the_rows_and_the_best_of_several_seeds_is_kept(
    killed: Run, report: FitReport, capsys: pytest.CaptureFixture[str]
):
    student = {"seeds": 2, "augmentation": {"copies": 1}, "training": killed.recipe.student.training.model_dump()}
    run = Run(killed.folder, killed.recipe.model_copy(update={"student": Student.model_validate(student)}))
    found = fitted(run, most=2)
    chosen = found.chosen
    assert chosen is not None
    assert found.fits
    assert chosen.candidate.is_static
    assert [trial.candidate.is_static for trial in found.trials if trial.rungs] == [True, False]
    recipe = load_recipe(run.folder / "fit" / "recipe.yaml")
    assert (recipe.student.kind, recipe.student.seeds) == ("static", 2)
    summary = run.summary(STUDENT)
    assert [result.seed for result in summary.seeds] == [0, 1]
    assert summary.layers == 0
    assert (run.folder / "student/model2vec").is_dir()
    capsys.readouterr()
    assert commands.distill(Run(run.folder, recipe), in_json=True).student == summary
    assert "student: unchanged, skipped" in capsys.readouterr().err
