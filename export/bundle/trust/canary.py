"""Canary rows: what each model of a bundle said of some test rows when it was packed, and whether it still does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import say
from compress.errors import UnavailableError
from compress.metrics.numbers import alike, spread
from compress.metrics.vectors import cosines
from compress.serving.client import open_model
from compress.serving.format import (
    CANARY,
    BundleModel,
    Canary,
    CanaryRow,
    RecordedAnswers,
    read_canary,
    read_description,
)
from compress.targets import calculates_alike, resolve_target
from compress.tasks.registry import task_named
from compress.tasks.rows import Row, row_as_dict

_DIGITS = 5
_SAME_TARGET = 0.01
"""What outputs may differ where they were recorded on the same kind of processor: other versions of a runtime add up
in another order."""
_FALSE_ALARMS = 0.001
_SAME_VECTOR = 1e-4
"""What a cosine may lack of 1 there."""


def record_canary(folder: Path, models: Sequence[BundleModel], rows: Sequence[Row]) -> None:
    """Ask every model that can run here, from the bundle's own files, and write down what it says."""
    said: dict[str, RecordedAnswers] = {}
    for model in models:
        try:
            said[model.name] = _ask(folder / model.folder, rows)
        except UnavailableError as error:
            say(f"bundle: {model.name}: no canary outputs are recorded: {error}")
    kept = [CanaryRow(**row_as_dict(row)) for row in rows]
    canary = Canary(recorded_on=resolve_target("auto").name, rows=kept, models=said)
    text = json.dumps(canary.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False)
    (folder / CANARY).write_text(text + "\n", "utf-8")


def canary_problem(folder: Path, model: BundleModel) -> tuple[str | None, str]:
    """Ask a model again.

    On the kind of processor that the outputs were recorded on, they must be the same up to rounding; on another one,
    and on GPUs, they may differ as much as the variant was allowed to differ from its parent. Of a model that writes,
    what it wrote is compared there: the numbers of its tokens are no quantities. Predicted numbers are compared in
    standard deviations of the recorded ones.

    :return: What is wrong, if anything, and what was found.
    :raises UnavailableError: If it needs what this machine lacks, or the packer's lacked.
    :raises CompressError: If the model cannot be loaded.
    """
    canary = read_canary(folder)
    recorded = canary.models.get(model.name)
    if recorded is None:
        raise UnavailableError("no outputs were recorded: it could not run where it was packed")
    found = _ask(folder / model.folder, [Row(**row.model_dump()) for row in canary.rows])
    same_target = calculates_alike(canary.recorded_on, model.target) and not model.on_gpu
    rows, limit = len(canary.rows), _SAME_TARGET if same_target else model.tolerance.max_difference
    fewest = rows if same_target else fewest_same(rows, model.tolerance.agreement)
    task = task_named(read_description(folder / model.folder).task)
    if task.VECTORS:
        return _vector_problem(found, recorded, 1 - _SAME_VECTOR if same_target else model.tolerance.cosine)
    is_number = task.NUMBERS
    if is_number and len(found.predictions) == len(recorded.predictions):
        same = sum(alike(recorded.predictions, found.predictions))
    else:
        same = sum(one == other for one, other in zip(found.predictions, recorded.predictions, strict=False))
    told, limits = f"{same} of {rows} predictions are the same", f"limit {fewest}"
    failed = same < fewest or not rows
    if same_target or not task.GENERATES:
        difference = _difference(found.outputs, recorded.outputs) / (spread(recorded.predictions) if is_number else 1)
        told, limits = f"{told}, outputs differ by up to {difference:.2g}", f"{limits}, {limit:g}"
        failed |= not difference <= limit
    return (f"{told} ({limits})" if failed else None), told


def _vector_problem(found: RecordedAnswers, recorded: RecordedAnswers, limit: float) -> tuple[str | None, str]:
    """What is wrong with vectors, whose cosines to the recorded ones must be no less than this, if anything."""
    if _difference(found.outputs, recorded.outputs) == float("inf") or not found.outputs:
        return "its vectors are not of the recorded number and length", "other vectors"
    one, other = (np.asarray(answers.outputs, np.float64) for answers in (found, recorded))
    told = f"the cosines of {len(one)} vectors to the recorded ones are {cosines(one, other).min():.5f} or more"
    return (None if cosines(one, other).min() >= limit else f"{told} (limit {limit:g})"), told


def fewest_same(rows: int, agreement: float) -> int:
    """How many of the rows must have the same prediction.

    A few rows cannot show a share: a model that agrees on just as large a share of all texts as it must has fewer than
    these in one check of a thousand (binomial).
    """
    from scipy.stats import binom

    return int(binom.ppf(_FALSE_ALARMS, rows, agreement))


def _ask(folder: Path, rows: Sequence[Row]) -> RecordedAnswers:
    model = open_model(folder, threads=1)  # several add up in an order of their own
    if model.description.reads == "text":
        answers = model.predict([row.text for row in rows])
        outputs = [list((answer.probabilities or {}).values()) for answer in answers]
        return RecordedAnswers(outputs=_rounded(outputs), predictions=[answer.prediction for answer in answers])
    found, predictions = model.outputs(rows)
    said = [] if task_named(model.description.task).VECTORS else predictions  # which the outputs are
    return RecordedAnswers(outputs=_rounded(found), predictions=said)


def _rounded(outputs: Sequence[Any]) -> list[Any]:
    return [np.asarray(output, dtype=np.float64).round(_DIGITS).tolist() for output in outputs]


def _difference(found: Sequence[Any], recorded: Sequence[Any]) -> float:
    """The largest of any output; infinite where they are not of the same shapes, or not numbers at all."""
    try:
        one, other = ([np.asarray(output, np.float64) for output in outputs] for outputs in (found, recorded))
    except (TypeError, ValueError):  # not lists of numbers
        return float("inf")
    if [array.shape for array in one] != [array.shape for array in other]:
        return float("inf")
    return max((float(np.abs(a - b).max(initial=0)) for a, b in zip(one, other, strict=True)), default=0.0)
