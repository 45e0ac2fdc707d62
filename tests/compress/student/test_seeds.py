"""Several students from several seeds: the best is kept, and what is finished is not made again."""

from pathlib import Path

import pytest

from compress.recipe.recipe import Recipe
from compress.runs.directory import Run, open_run
from compress.student.seeds import best_of_seeds, mean_and_spread, seeds_table, told_spread
from compress.student.summary import RowCounts, StudentSummary
from compress.training.summary import TrainingSummary

ACCURACIES = {7: 0.80, 8: 0.86, 9: 0.83}
SHAPE = {"shape": "1x8", "layers": 1, "width": 8, "heads": 1, "parameters": 10, "embedding_parameters": 5}


class Distiller:
    """Writes the seed in place of a student."""

    def __init__(self, metric: str = "accuracy"):
        self.metric, self.fails_at = metric, -1
        self.made: list[int] = []

    def __call__(self, run: Run, folder: Path, scratch: Path, title: str) -> StudentSummary:
        seed = run.recipe.seed
        if seed == self.fails_at:
            raise KeyboardInterrupt
        self.made.append(seed)
        (folder / "model.safetensors").write_text(str(seed))
        scratch.mkdir()
        assert title == f"student of seed {seed}"
        training = TrainingSummary(
            epochs=1, steps=1, metric=self.metric, best=ACCURACIES[seed], precision="fp32", seconds=1
        )
        return StudentSummary(**SHAPE, rows=RowCounts(rows=1, kept=1), training=training)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(Recipe.model_validate({"name": "several", "seed": 7, "student": {"seeds": 3}}), tmp_path)


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 8), ("loss", 7)])
def test_the_best_of_several_seeds_is_kept_and_their_spread_told(metric, best, run, tmp_path):
    summary = best_of_seeds(run, tmp_path / "student", tmp_path / "scratch", Distiller(metric))
    assert (tmp_path / "student" / "model.safetensors").read_text() == str(best)
    assert summary.seed == best
    assert {result.seed: result.best for result in summary.seeds} == ACCURACIES
    assert mean_and_spread(summary.seeds) == (pytest.approx(0.83), pytest.approx(0.03))
    assert told_spread(summary).startswith(f"validation {metric} of 3 seeds 0.8300 ± 0.0300")
    assert seeds_table(summary).row_count == 4


def test_finished_ones_are_not_made_again_after_an_interruption(run, tmp_path):
    distiller = Distiller()
    distiller.fails_at = 9
    with pytest.raises(KeyboardInterrupt):
        best_of_seeds(run, tmp_path / "student", tmp_path / "scratch", distiller)
    assert not (tmp_path / "student").exists()
    distiller.fails_at = -1
    summary = best_of_seeds(run, tmp_path / "student", tmp_path / "scratch", distiller)
    assert distiller.made == [7, 8, 9]
    assert summary.seed == 8
    assert not list((tmp_path / "scratch").glob("*/work"))
