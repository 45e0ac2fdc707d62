"""What the students of the interop runs were asked, and what compress itself said."""

import json
import os
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, pipeline

RUNS = Path(os.environ["COMPRESS_INTEROP"])
ROWS = 40


def rows_of(task: str) -> list[dict]:
    lines = (RUNS / task / "data/test.jsonl").read_text("utf-8").splitlines()[:ROWS]
    return [json.loads(line) for line in lines]


def predictions_of(task: str) -> list:
    """What compress itself said about the rows, with the student in PyTorch."""
    return json.loads((RUNS / task / "evaluation/student-predictions.json").read_text("utf-8"))[:ROWS]


def share_of_alike_answers(model: Any, folder: Path) -> float:
    """Of questions; transformers' pipeline takes whole words, we take tokens: one must be in the other."""
    answer = pipeline("question-answering", model=model, tokenizer=AutoTokenizer.from_pretrained(folder))
    rows, limits = rows_of("question-answering"), {"max_seq_len": 48, "doc_stride": 12, "max_answer_len": 30}
    found = [answer(question=row["text"], context=row["text_pair"], **limits)["answer"] for row in rows]
    wanted = predictions_of("question-answering")
    return sum(one in other or other in one for one, other in zip(found, wanted, strict=True)) / len(wanted)


def share_of_equal(found: list, wanted: list) -> float:
    assert len(found) == len(wanted) > 0
    return sum(one == other for one, other in zip(found, wanted, strict=True)) / len(wanted)
