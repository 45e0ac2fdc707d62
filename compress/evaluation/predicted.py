"""What a model says of rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.runs.files import write_json
from compress.tasks.contract import Example, Prediction, Reported, Task
from compress.tasks.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Predicted:
    """What a model says of the rows: a prediction for each, or what is found with it, as `Task.findings` has it; where
    rows have one label how sure it is of it; and, while it is asked, what it ``said`` itself."""

    predictions: list[Reported]
    confidences: list[float] | None
    said: Sequence[Prediction] = ()


def predicted_of(
    task: Task,
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float],
    similarity: str,
) -> Predicted:
    """What a model's outputs say of the rows, as `Task.decode` takes them.

    :param similarity: How vectors are compared.
    """
    found = task.probabilities(outputs) if task.SINGLE_LABEL else None
    rounded = None if found is None else [round(value, 5) for value in found.max(axis=-1).tolist()]
    said = task.decode(outputs, examples, rows, labels, tokenizer, thresholds)
    return Predicted(task.findings(said, rows, similarity), rounded, said)


def write_findings(path: Path, task: Task, findings: Sequence[Reported]) -> None:
    """Write what reports keep of a model's predictions."""
    write_json(path, [task.finding_as_json(finding) for finding in findings])


def read_findings(path: Path, task: Task) -> list[Reported]:
    """What `write_findings` wrote."""
    return [task.finding_of_json(content) for content in json.loads(path.read_text("utf-8"))]
