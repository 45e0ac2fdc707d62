"""What a distilled reranker keeps of its teacher, on real text, and what it costs.

``python -m bench.studies.rerankers MODEL ROWS [--share 0.15] [--output FOLDER]``: the recipe
``examples/xquad-reranker.yaml`` on a share of the questions of ROWS, a folder with train, validation and test files in
the form of XQuAD (``id``, ``question``, ``context``, ``lang``), the same ones in all languages; MODEL is a multilingual
encoder. The default is about 3,600 pairs to train on and 1,800 to measure with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.studies.product import assignments, run_command
from bench.studies.students import show_students
from compress.data.read import SPLITS, read_file
from compress.reports.bench import read_report
from compress.runs.directory import find_run

_RECIPE = Path(__file__).parents[2] / "examples/xquad-reranker.yaml"
_PARTS = 1000
_LEAST_SHARE = 0.2


def sampled(rows: Iterator[tuple[str, Mapping[str, Any]]], share: float) -> Iterator[dict[str, str]]:
    """The rows of a share of the questions, which are the same in all languages."""
    for _, row in rows:
        part = int(hashlib.sha256(str(row["id"]).encode()).hexdigest(), 16) % _PARTS
        if part < share * _PARTS:
            yield {name: row[name] for name in ("question", "context", "lang")}


def write_rows(source: Path, folder: Path, share: float) -> Path:
    """Write a share of the questions, a file a split; of those to choose by and to measure on a fifth at least."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        kept = sampled(read_file(source / f"{split}.jsonl"), share if split == "train" else max(share, _LEAST_SHARE))
        lines = [json.dumps(row, ensure_ascii=False) for row in kept]
        (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return folder


def main() -> None:
    """Distil, export, measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--share", type=float, default=0.15)
    parser.add_argument("--output", type=Path, default=Path("artifacts"))
    given = parser.parse_args()
    source = write_rows(given.rows, given.output / "xquad-reranker-rows", given.share)
    fields = {"data.source": str(source), "teacher.model": str(given.model)}
    run_command("run", _RECIPE, *assignments(fields), "--output", given.output)
    show_students({"": read_report(find_run(None, given.output).folder / "bench/report.json")})


if __name__ == "__main__":
    main()
