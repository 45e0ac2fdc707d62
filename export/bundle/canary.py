"""Canary rows: what each model of a bundle said of some test rows when it was packed, and whether it still does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import say
from compress.data.rows import Row, row_as_dict
from compress.errors import UnavailableError
from compress.target import resolve_target
from export.bundle.client import Model, load_model
from export.bundle.format import CANARY, BundleModel

_DIGITS = 5
_SAME_TARGET = 0.01
"""What outputs may differ where they were recorded on the same kind of processor: other versions of a runtime add up
in another order."""


@dataclass(frozen=True)
class Said:
    """What a model said: numbers, one list an example, and predictions, one a row."""

    outputs: list[Any]
    predictions: list[Any]


def record_canary(folder: Path, models: Sequence[BundleModel], rows: Sequence[Row]) -> None:
    """Ask every model that can run here, from the bundle's own files, and write down what it says."""
    said: dict[str, Any] = {}
    for model in models:
        try:
            found = _ask(load_model(folder / model.folder), rows)
        except UnavailableError as error:
            say(f"bundle: {model.name}: no canary outputs are recorded: {error}")
            continue
        said[model.name] = {"outputs": found.outputs, "predictions": found.predictions}
    content = {
        "schema": 1,
        "recorded on": resolve_target("auto").name,
        "rows": [row_as_dict(row) for row in rows],
        "models": said,
    }
    (folder / CANARY).write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")


def canary_problem(folder: Path, model: BundleModel) -> tuple[str | None, str]:
    """Ask a model again.

    On the processor that the outputs were recorded on, they must be the same up to rounding; on another one, they may
    differ as much as the variant was allowed to differ from its parent.

    :return: What is wrong, if anything, and what was found.
    :raises UnavailableError: If it needs what this machine lacks, or the packer's lacked.
    :raises CompressError: If the model cannot be loaded.
    """
    content = json.loads((folder / CANARY).read_text("utf-8"))
    recorded = content["models"].get(model.name)
    if recorded is None:
        raise UnavailableError("no outputs were recorded: it could not run where it was packed")
    rows = [Row(**{"label": "", **row}) for row in content["rows"]]
    found = _ask(load_model(folder / model.folder), rows)
    same_target = content["recorded on"] == resolve_target("auto").name
    limit, agreement = (
        (_SAME_TARGET, 1.0) if same_target else (model.tolerance.max_difference, model.tolerance.agreement)
    )
    pairs = list(zip(found.predictions, recorded["predictions"], strict=True))
    same = sum(one == other for one, other in pairs)
    difference = _difference(found.outputs, recorded["outputs"])
    told = f"{same} of {len(pairs)} predictions are the same, outputs differ by up to {difference:.2g}"
    failed = same < agreement * len(pairs) or not difference <= limit
    return (f"{told} (limit {limit:g})" if failed else None), told


def _ask(model: Model, rows: Sequence[Row]) -> Said:
    if model.description.reads == "text":
        answers = model.predict([row.text for row in rows])
        outputs = [list((answer.probabilities or {}).values()) for answer in answers]
        return Said(_rounded(outputs), [answer.prediction for answer in answers])
    found, predictions = model.outputs(rows)
    return Said(_rounded(found), predictions)


def _rounded(outputs: Sequence[Any]) -> list[Any]:
    return [np.asarray(output, dtype=np.float64).round(_DIGITS).tolist() for output in outputs]


def _difference(found: list[Any], recorded: list[Any]) -> float:
    one, other = ([np.asarray(output) for output in outputs] for outputs in (found, recorded))
    if [array.shape for array in one] != [array.shape for array in other]:
        return float("inf")
    return max((float(np.abs(a - b).max(initial=0)) for a, b in zip(one, other, strict=True)), default=0.0)
