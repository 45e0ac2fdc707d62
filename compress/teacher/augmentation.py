"""The augmented stage: copies of the training rows, which the teacher is asked about as about rows without labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from compress.console import say, working
from compress.data.read import UNLABELLED
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runs.stages import run_stage
from compress.tasks.rows import row_as_dict
from compress.teacher.copies import Spans, check_copies, copies_of
from compress.teacher.pool import build_pool
from compress.teacher.sequences import AUGMENTED_FILE
from compress.teacher.summary import AUGMENTED, AugmentationSummary, source_stage


def run_augmentation_stage(run: Run) -> AugmentationSummary:
    """Fill ``augmented/`` with copies of the training rows; of those without labels beside them there are none."""
    student, parents = run.recipe.student, (DATA.name, source_stage(run).name)
    inputs = {**student.augmentation.model_dump(), "languages": student.languages, "seed": run.recipe.seed}
    return run_stage(run, AUGMENTED, inputs, parents, lambda folder, _: _build(run, folder / AUGMENTED_FILE))


def _build(run: Run, file: Path) -> AugmentationSummary:
    settings, data = run.recipe.student.augmentation, load_data(run)
    copied = replace(data, splits={name: table for name, table in data.splits.items() if name != UNLABELLED})
    rows = build_pool(copied, run.recipe).rows
    tokenizer = load_tokenizer(run.path_of(source_stage(run).name), run.trusts_code)
    check_copies(tokenizer)

    def split(texts: Sequence[str]) -> list[Spans]:
        found = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[Spans] = found["offset_mapping"]
        return offsets

    made = 0
    with working(f"augmented: copying {len(rows):,} rows"), file.open("w", encoding="utf-8") as lines:
        for copy in copies_of(rows, split, settings, run.recipe.seed):
            lines.write(json.dumps(row_as_dict(copy), ensure_ascii=False) + "\n")
            made += 1
    if not made:
        raise CompressError("student.augmentation: the rows are too short to make copies of; set copies: 0")
    say(f"augmented: {made:,} copies of {len(rows):,} rows")
    return AugmentationSummary(rows=len(rows), copies=made)
