"""The sequences stage: the teacher's own translations of the training rows, which its student learns to write.

Sequence-level distillation (Kim & Rush, 2016): what a beam search finds is simpler than what people write, and
so easier to learn for a small model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compress.console import progress, say
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.data.table import RowTable
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runs.files import write_json
from compress.runs.stages import run_stage
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.rows import Row, row_as_dict
from compress.teacher.predictions import with_predictions
from compress.teacher.summary import AUGMENTED, PREDICTIONS, SEQUENCES, TEACHER, SequencesSummary

AUGMENTED_FILE = "rows.jsonl"
_BLOCK = 2048  # rows between two points that an interrupted stage goes on from


def wanted_stages(run: Run) -> tuple[str, ...]:
    """The stage that decides about the student's rows, besides the data's: of the teacher's translations, of its
    predictions in a file, or of copies."""
    if run.recipe.teacher.predictions:
        return (PREDICTIONS.name,)
    if run.recipe.student.augmentation.copies:
        return (AUGMENTED.name,)
    return (SEQUENCES.name,) if run.recipe.student.distillation.sequences.enabled else ()


def run_sequences_stage(run: Run) -> SequencesSummary:
    """Fill ``sequences/`` with the training rows, the teacher's translations in the place of theirs."""
    recipe = run.recipe
    inputs = {
        **run.tokenisation,
        **recipe.student.distillation.sequences.model_dump(),
        "length_penalty": recipe.generation.length_penalty,
        "languages": recipe.student.languages,
    }
    return run_stage(
        run, SEQUENCES, inputs, (DATA.name, TEACHER.name), lambda folder, scratch: _build(run, folder, scratch)
    )


def load_student_data(run: Run) -> DataSet:
    """The rows that the student learns from, and those that it is tested on."""
    data = load_data(run)
    if run.recipe.teacher.predictions:
        return with_predictions(run, data)
    if not wanted_stages(run):
        return data
    if run.recipe.student.augmentation.copies:
        split, path = AUGMENTED.name, run.path_of(AUGMENTED.name) / AUGMENTED_FILE
    else:
        split, path = "train", run.path_of(SEQUENCES.name) / "train.jsonl"
    return replace(data, splits={**data.splits, split: RowTable.open(path, run.folder / ".work" / "arrow")})


def _build(run: Run, folder: Path, scratch: Path) -> SequencesSummary:
    rows = load_data(run).splits["train"].in_languages(run.recipe.student.languages)
    starts = range(0, len(rows), _BLOCK)
    beams = run.recipe.student.distillation.sequences.beams
    say(f"sequences: the teacher translates {len(rows):,} rows, {beams} beams")
    missing = [start for start in starts if not _part(scratch, start).exists()]
    if missing:
        _translate(run, rows, missing, scratch)
    kept = 0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for start in starts:
            written = json.loads(_part(scratch, start).read_text("utf-8"))
            for row, text in zip(rows[start : start + _BLOCK], written, strict=True):
                if text:
                    kept += 1
                    file.write(json.dumps(row_as_dict(replace(row, label=text)), ensure_ascii=False) + "\n")
    return SequencesSummary(rows=len(rows), dropped_empty=len(rows) - kept)


def _part(scratch: Path, start: int) -> Path:
    return scratch / f"{start:09}.json"


def _translate(run: Run, rows: RowTable, starts: Sequence[int], scratch: Path) -> None:
    teacher = run.path_of("teacher")
    tokenizer = load_tokenizer(teacher, run.trusts_code)
    encode = run.task.encoder(tokenizer, run.recipe.data, [])
    search = Search.of(run.recipe, run.recipe.student.distillation.sequences.beams)
    predict = load_predict(teacher, run.task, search, trust_remote_code=run.trusts_code)
    with progress() as bar:
        task = bar.add_task("translating", total=len(starts) * _BLOCK)
        for start in starts:
            block: list[Row] = list(rows[start : start + _BLOCK])
            examples = encode(block)
            outputs = predict_examples(
                predict,
                run.task,
                examples,
                tokenizer.pad_token_id,
                advance=lambda count: bar.advance(task, count),
            )
            partial = scratch / "partial.json"
            write_json(partial, run.task.decode(outputs, examples, block, [], tokenizer))
            partial.replace(_part(scratch, start))
