"""Trials of the search: one form of the student, made and judged; each is kept."""

from __future__ import annotations

import functools
import importlib.util
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from pydantic import TypeAdapter, ValidationError

from compress.console import progress, say, working
from compress.recipe.export import CalibrationMethod
from compress.runs.directory import Run
from compress.runs.files import atomic_file, content_hash, write_json
from compress.targets import without_bf16
from compress.tasks.contract import Task, refuses
from compress.variants.registry import FUSED, VARIANTS, Variant
from export.onnx.layers import layers_in
from export.search.judge import Judge
from export.search.report import Candidate, LayerSensitivity, Trial
from export.variants.making import Ingredients, make
from export.variants.sample import Sample
from export.variants.summary import Made

_SENSITIVITIES = TypeAdapter(list[LayerSensitivity])


def usual_candidates(task: Task, opset: int | None = None) -> list[Candidate]:
    """The forms for a CPU that the task, this machine and an opset know; static int8 with every way to calibrate it."""
    found = []
    for variant in VARIANTS.values():
        if variant.searched and _can_be_tried(variant, task) and variant.is_in(opset):
            found += [Candidate(variant=variant.name, calibration=method) for method in _calibrations(variant)]
    return found


def _can_be_tried(variant: Variant, task: Task) -> bool:
    if variant.runtime == "OpenVINO" and not importlib.util.find_spec("openvino"):
        return False
    if variant.precision == "bf16" and without_bf16():
        return False
    return not refuses(task, "export.variants", variant.name)


def _calibrations(variant: Variant) -> list[CalibrationMethod] | list[None]:
    return list(get_args(CalibrationMethod)) if variant.calibrated and variant.runtime == "ONNX Runtime" else [None]


class TrialRunner:
    """Makes candidates and tries them.

    :param ingredients: Of the run's variants.
    :param sample: Validation rows that they are judged on.
    :param folder: Keeps what is found; later searches in the same run read it.
    """

    def __init__(self, run: Run, ingredients: Ingredients, sample: Sample, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.run, self.folder, self.sample = run, folder, sample
        # Of a trial one line is said; what is done to each of its graphs is not.
        calibrate = functools.cache(ingredients.calibrate)
        self._ingredients = replace(ingredients, calibrate=calibrate, announce=nullcontext)
        self.target, self.candidates = ingredients.target, usual_candidates(run.task, ingredients.opset)

    def trial(self, candidate: Candidate) -> Trial:
        """Size, latency at batch 1, and the losses against the student in 32 bits on both halves of the rows."""
        path = self.folder / f"{_key(candidate)}.json"
        known = _read(path)
        if known is not None and not known.noisy:
            return known
        with working(f"search: trying {candidate.name}"), TemporaryDirectory(dir=self.folder) as scratch:
            self.make(candidate, Path(scratch))
            found = self._judge.trial(candidate, Path(scratch))
        with atomic_file(path) as partial:
            write_json(partial, found.model_dump(mode="json"))
        worst = found.search.worst_language_drop
        say(
            f"search: {candidate.name}: {found.p50_ms:.2f} ms, {found.bytes / 1e6:.2f} MB, worst-language drop "
            f"{100 * worst.value:+.1f} in {worst.language}"
        )
        return found

    def make(self, candidate: Candidate, folder: Path) -> Made:
        """Fill a folder with the graphs of a candidate, configuration and tokenizer."""
        return make(candidate.form, self._of(candidate), folder)

    def sensitivity(self, candidate: Candidate) -> list[LayerSensitivity]:
        """How far the outputs move where one layer alone is quantised, the layers that move them most first."""
        path = self.folder / f"sensitivity-{_key(candidate)}.json"
        known = _read_sensitivities(path)
        layers = layers_in(self._ingredients.plain)
        with progress() as bar:
            task = bar.add_task("quantising one layer at a time", total=len(layers), completed=len(known))
            for layer in [name for name in layers if name not in {entry.layer for entry in known}]:
                alone = candidate.model_copy(update={"excluded": tuple(name for name in layers if name != layer)})
                with TemporaryDirectory(dir=self.folder) as scratch:
                    self.make(alone, Path(scratch))
                    difference = self._judge.difference(Path(scratch))
                known.append(LayerSensitivity(layer=layer, difference=difference))
                with atomic_file(path) as partial:
                    write_json(partial, _SENSITIVITIES.dump_python(known, mode="json"))
                bar.advance(task)
        return sorted(known, key=lambda entry: -entry.difference)

    def _of(self, candidate: Candidate) -> Ingredients:
        """What a candidate is made of."""
        method = candidate.calibration or self._own.calibration.method
        calibration = self._own.calibration.model_copy(update={"method": method})
        return replace(self._own, excluded=candidate.excluded, calibration=calibration)

    @cached_property
    def _own(self) -> Ingredients:
        """With fused graphs, which all candidates are made from, beside the plain ones."""
        fused = self.folder / "fused"
        if not fused.exists():
            with TemporaryDirectory(dir=self.folder) as scratch:
                graphs = Path(scratch) / "graphs"
                graphs.mkdir()
                make(FUSED, self._ingredients, graphs)
                graphs.rename(fused)
        return replace(self._ingredients, fused=fused)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self.sample, self._own.fused, self.run.recipe.bench.threads or 1)


def _key(candidate: Candidate) -> str:
    return content_hash(candidate.model_dump(mode="json"))


def _read(path: Path) -> Trial | None:
    """A trial that was kept; none where it is missing or damaged: it is made again."""
    try:
        return Trial.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _read_sensitivities(path: Path) -> list[LayerSensitivity]:
    try:
        return _SENSITIVITIES.validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return []
