"""Trials of a fit: candidates made and measured, trained and judged; each is kept, for later fits of the run."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import ValidationError

from bench.fit.candidates import recipe_of, student_of
from bench.fit.forms import FormMaker, size_of
from bench.fit.report import FitCandidate, FitCost, FitRung
from compress.console import say, working
from compress.contract import Contract
from compress.data.stage import DataSet
from compress.data.summary import DATA
from compress.evaluation.asking import ask_stage
from compress.evaluation.predicted import read_findings, write_findings
from compress.metrics.comparison import compare
from compress.metrics.figures import LanguageLosses
from compress.runs.directory import Run
from compress.runs.files import atomic_file, content_hash, write_json
from compress.runs.versions import program_version
from compress.student.seeds import best_of_seeds
from compress.student.stage import TrialTraining, distil
from compress.student.summary import StudentSummary
from compress.targets import Target
from compress.tasks.contract import Reported
from compress.tasks.rows import Row
from compress.teacher.summary import TEACHER

_MOST_ROWS = 5000
_TIMED_ROWS = 64
Kept = TypeVar("Kept", bound=Contract)


class FitRunner:
    """Measures and trains candidates.

    :param reference: The form that all others are timed in turn with is this one's.
    """

    def __init__(self, run: Run, data: DataSet, target: Target, reference: FitCandidate):
        self.run, self._data = run, data
        self._forms, self._timed_with = FormMaker(run, data, target), reference
        self.folder = run.folder / "trials" / f"fit-{content_hash(_depends_on(run, target, self.form))}"
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def form(self) -> str:
        """The variant that candidates are measured and judged in."""
        return self._forms.form.name

    @cached_property
    def rows(self) -> list[Row]:
        """Validation rows that candidates are judged by: all whose labels may be used, of very many a part."""
        return self._drawn("validation", _MOST_ROWS)

    def measure(self, candidate: FitCandidate) -> FitCost:
        """What an untrained candidate costs in its form for the target.

        :raises RejectedVariantError: If it has none.
        """
        path = self._place(candidate) / "cost.json"
        known = _read(path, FitCost)
        if known is not None and not known.noisy:
            return known
        with working(f"fit: measuring {candidate.name}, untrained"), TemporaryDirectory(dir=self.folder) as scratch:
            cost = self._cost(self._untrained_form(candidate, Path(scratch)))
        _keep(path, cost)
        say(f"fit: {candidate.name}: {cost.p50_ms:.2f} ms, {cost.bytes / 1e6:.2f} MB")
        return cost

    def train(self, candidate: FitCandidate, until: float) -> FitRung:
        """Train a candidate until so many epochs are done, and hold its form against the teacher."""
        whole = until >= self.run.recipe.student.training.epochs
        place = self._place(candidate)
        path = place / ("trained.json" if whole else f"after-{until:g}.json")
        known = _read(path, FitRung)
        if known is not None and (not whole or (place / "student").is_dir()):
            return known
        began = time.monotonic()
        trial = TrialTraining(f"student {candidate.name}", None if whole else int(until))
        run = replace(self.run, recipe=recipe_of(candidate, self.run.recipe))
        with TemporaryDirectory(dir=self.folder) as scratch:
            student, form = Path(scratch) / "student", Path(scratch) / "form"
            student.mkdir()
            form.mkdir()
            summary = distil(run, student, place / "training", trial=trial)
            with working(f"fit: judging {candidate.name}"):
                losses = self._losses(self._forms.make(student, form), "validation", self.rows)
            if whole:
                _keep(place / "summary.json", summary)
                shutil.rmtree(place / "student", ignore_errors=True)
                student.rename(place / "student")
        rung = FitRung(epochs=until, seconds=round(time.monotonic() - began, 1), losses=losses)
        _keep(path, rung)
        return rung

    def trained(self, candidate: FitCandidate) -> tuple[Path, StudentSummary]:
        """The folder of a candidate that was trained to its end, and what its training returned; where the recipe has
        several seeds, of the best of its students, the others of which are trained now."""
        place, seeds = self._place(candidate), self.run.recipe.student.seeds
        kept = place if seeds == 1 else place / f"best-of-{seeds}"
        if not (kept / "student").is_dir():
            run = replace(self.run, recipe=recipe_of(candidate, self.run.recipe))
            with TemporaryDirectory(dir=self.folder) as scratch:
                filling = Path(scratch) / "student"
                filling.mkdir()
                summary = best_of_seeds(run, filling, place / "seeds", partial(self._of_seed, candidate))
                kept.mkdir(exist_ok=True)
                _keep(kept / "summary.json", summary)
                filling.rename(kept / "student")
            shutil.rmtree(place / "seeds")
        return kept / "student", StudentSummary.model_validate_json((kept / "summary.json").read_bytes())

    def _of_seed(self, candidate: FitCandidate, run: Run, folder: Path, scratch: Path, title: str) -> StudentSummary:
        """Fill a folder with the student of another seed; of the recipe's own it is the one that was chosen."""
        if run.recipe.seed != self.run.recipe.seed:
            return distil(run, folder, scratch, trial=TrialTraining(title))
        place = self._place(candidate)
        shutil.copytree(place / "student", folder, dirs_exist_ok=True)
        return StudentSummary.model_validate_json((place / "summary.json").read_bytes())

    def confirm(self, candidate: FitCandidate) -> tuple[LanguageLosses, FitCost]:
        """What a trained candidate loses on the test rows, and what it costs now."""
        which = f"-best-of-{self.run.recipe.student.seeds}"
        path, cost_path = (self._place(candidate) / f"{name}{which}.json" for name in ("tested", "tested-cost"))
        losses, cost = _read(path, LanguageLosses), _read(cost_path, FitCost)
        if losses is None or cost is None or cost.noisy:
            rows = list(self._data.splits["test"])
            with working(f"fit: {candidate.name} on the test rows"), TemporaryDirectory(dir=self.folder) as scratch:
                form = self._forms.make(self.trained(candidate)[0], Path(scratch))
                losses, cost = self._losses(form, "test", rows), self._cost(form)
            _keep(path, losses)
            _keep(cost_path, cost)
        return losses, cost

    def tidy(self) -> None:
        """Take away checkpoints, and what a kill has left half made; what was found of the trials stays."""
        for folder in [*self.folder.glob("*/training"), *self.folder.glob("tmp*")]:
            shutil.rmtree(folder)

    def _place(self, candidate: FitCandidate) -> Path:
        """The folder of what is known of a candidate."""
        origin = f"every-{candidate.every_nth_layer}" if candidate.every_nth_layer else candidate.initialization
        folder = self.folder / f"{candidate.name}-{origin}"
        folder.mkdir(exist_ok=True)
        return folder

    def _cost(self, form: Path) -> FitCost:
        rows = self._drawn("validation", _TIMED_ROWS)
        times = self._forms.times(form, self._reference, rows)
        return FitCost(p50_ms=round(times.milliseconds, 4), bytes=size_of(form), noisy=times.noisy)

    def _drawn(self, split: str, count: int) -> list[Row]:
        rows = self._data.labelled(split, self.run.recipe.data.labelled_languages)
        return list(rows.drawn(self.run.task, count, self.run.recipe.seed))

    @cached_property
    def _reference(self) -> Path:
        """The form that all are timed in turn with."""
        kept = self.folder / "reference"
        if not kept.is_dir():
            with TemporaryDirectory(dir=self.folder) as scratch:
                self._untrained_form(self._timed_with, Path(scratch)).rename(kept)
        return kept

    def _untrained_form(self, candidate: FitCandidate, scratch: Path) -> Path:
        student, form = scratch / "student", scratch / "form"
        student.mkdir()
        form.mkdir()
        self._forms.untrained(candidate, student)
        return self._forms.make(student, form)

    def _losses(self, form: Path, split: str, rows: list[Row]) -> LanguageLosses:
        said = (self._said_by_teacher(split, rows), self._forms.predictions(form, rows))
        teacher, student = (self.run.task.metrics(found, rows, self._data.labels) for found in said)
        return compare(teacher, student, [row.lang for row in rows])

    def _said_by_teacher(self, split: str, rows: list[Row]) -> list[Reported]:
        """What the teacher says of rows; it is asked once."""
        path = self.folder / f"teacher-{split}.json"
        if not path.exists():
            said = ask_stage(self.run, TEACHER.name, rows, self._data.labels).predictions
            with atomic_file(path) as partial:
                write_findings(partial, self.run.task, said)
        return read_findings(path, self.run.task)


def _depends_on(run: Run, target: Target, form: str) -> dict[str, object]:
    """What trials hang on, bounds apart: fits with others find them."""
    student = run.recipe.student
    any_shape = FitCandidate(layers=1, hidden_size=8, heads=1, feed_forward_size=8, initialization="random")
    return {
        **run.tokenisation,
        "parents": {name: run.digest(name) for name in (DATA.name, TEACHER.name)},
        "student": student_of(any_shape, student).model_dump(mode="json", exclude={"seeds"}),
        "labelled_languages": run.recipe.data.labelled_languages,
        "target": target.name,
        "form": form,
        "calibration": run.recipe.export.calibration.model_dump(mode="json"),
        "threads": run.recipe.bench.threads,
        "seed": run.recipe.seed,
        "code": program_version(),
    }


def _keep(path: Path, found: Contract) -> None:
    with atomic_file(path) as partial:
        write_json(partial, found.model_dump(mode="json"))


def _read(path: Path, kind: type[Kept]) -> Kept | None:
    """What was kept; nothing where it is missing or damaged: it is made again."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
