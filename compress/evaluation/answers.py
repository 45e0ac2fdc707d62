"""The answers stage: rows without labels get those of the model, against which its variants are told."""

from __future__ import annotations

import json
from pathlib import Path

from compress.console import say
from compress.data.stage import DataSet, load_data
from compress.data.summary import ANSWERS, DATA, AnswersSummary
from compress.errors import CompressError
from compress.evaluation.asking import ask_stage
from compress.models.describe import thresholds_in
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.tasks.rows import row_as_dict
from compress.teacher.summary import source_stage

_ANSWERED = ("validation", "test")  # what models are chosen by and measured on


def run_answers_stage(run: Run) -> AnswersSummary:
    """Fill ``answers/`` with the rows to choose by and to measure on, labelled with what the model says."""
    inputs = {**run.tokenisation, "generation": run.recipe.generation.model_dump()}
    parents = (DATA.name, source_stage(run).name)
    data = load_data(run)
    return run_stage(run, ANSWERS, inputs, parents, lambda folder, _: _build(run, data, folder))


def _build(run: Run, data: DataSet, folder: Path) -> AnswersSummary:
    kept, empty, source = {}, 0, source_stage(run).name
    thresholds = thresholds_in(run.path_of(source))
    for split in _ANSWERED:
        rows = list(data.splits[split])
        said = ask_stage(run, source, rows, data.labels).said
        answered = [run.task.answered(row, prediction, thresholds) for row, prediction in zip(rows, said, strict=True)]
        lines = [json.dumps(row_as_dict(row), ensure_ascii=False) for row in answered if row is not None]
        if not lines:
            raise CompressError(
                f"data: the model says nothing of any row of the {split} split; give rows that it can read"
            )
        (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        kept[split] = len(lines)
        empty += len(rows) - len(lines)
    say("answers: the rows have no labels: other forms are held against what the model says")
    if empty:
        say(f"answers: {empty:,} rows are left out, of which it says nothing")
    return AnswersSummary(rows=kept, dropped_empty=empty)
