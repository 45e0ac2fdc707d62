"""What the students of the interop runs were asked, and what compress itself said."""

import json
import os
from pathlib import Path

RUNS = Path(os.environ["COMPRESS_INTEROP"])
ROWS = 40


def rows_of(task: str) -> list[dict]:
    lines = (RUNS / task / "data/test.jsonl").read_text("utf-8").splitlines()[:ROWS]
    return [json.loads(line) for line in lines]


def predictions_of(task: str) -> list:
    """What compress itself said about the rows, with the student in PyTorch."""
    return json.loads((RUNS / task / "evaluation/student-predictions.json").read_text("utf-8"))[:ROWS]


def share_of_equal(found: list, wanted: list) -> float:
    assert len(found) == len(wanted) > 0
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
