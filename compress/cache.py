"""The cache stage: what the teacher says about the training rows, computed once and read memory-mapped.

The outputs lie in a store beside the runs, ``<output>/.cache/<key>/``, where every later run with the same teacher and
rows finds them: shards in safetensors, and an index with their hashes. A shard that is missing, because the work was
interrupted, or damaged, is made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from compress.console import progress, say
from compress.data.encode import Encoded, batches_by_length, pad
from compress.data.stage import load_data
from compress.data.table import EncodedTable
from compress.errors import CompressError
from compress.models import load_classifier, load_tokenizer
from compress.pool import build_pool
from compress.run import Run, content_hash, file_sha256, run_stage, write_json
from compress.signals import Shape, Signals, check_comparable, plan_signals, prepare, read

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH_SIZE = 64
_SHARD_BYTES = 256 * 2**20
_FEWEST_ROWS = 64
_TYPES = {"fp32": torch.float32, "fp16": torch.float16}
_ROW_OUTPUTS = ("logits", "sentence")


class TeacherOutputs:
    """The teacher's outputs on its rows, in memory-mapped shards.

    A shard holds ``logits`` (rows, labels), ``sentence`` (rows, width) and, for all of its rows one after the other,
    the signals of their tokens (tokens, layers, width); row ``i`` lies from ``offsets[i]`` to ``offsets[i + 1]``.
    """

    def __init__(self, folder: Path, index: dict[str, Any]):
        self._rows_per_shard: int = index["rows_per_shard"]
        self._paths = [folder / shard["file"] for shard in index["shards"]]
        self._opened: dict[int, dict[str, Tensor]] = {}

    def logits(self) -> np.ndarray:
        """All logits, float32 (rows, labels)."""
        return torch.cat([self._shard(number)["logits"].float() for number in range(len(self._paths))]).numpy()

    def batch(self, rows: Sequence[int], tokens: int) -> dict[str, Tensor]:
        """The outputs for a batch, float32, those of tokens padded with zeros to ``tokens``."""
        places = [divmod(row, self._rows_per_shard) for row in rows]
        names = [name for name in self._shard(places[0][0]) if name != "offsets"]
        return {name: self._gathered(name, places, tokens).float() for name in names}

    def _gathered(self, name: str, places: list[tuple[int, int]], tokens: int) -> Tensor:
        parts = []
        for number, row in places:
            shard = self._shard(number)
            if name in _ROW_OUTPUTS:
                parts.append(shard[name][row])
            else:
                start, end = shard["offsets"][row].item(), shard["offsets"][row + 1].item()
                states = shard[name][start:end]
                parts.append(torch.nn.functional.pad(states, (0, 0, 0, 0, 0, tokens - len(states))))
        return torch.stack(parts)

    def _shard(self, number: int) -> dict[str, Tensor]:
        if number not in self._opened:
            with safe_open(self._paths[number], "pt") as file:  # tensors are views of the mapped file
                self._opened[number] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return self._opened[number]


@dataclass(frozen=True)
class _Work:
    """What the store of one key is to hold."""

    folder: Path
    encoded: EncodedTable
    signals: Signals
    precision: str
    widths: dict[str, int]
    pad_id: int

    @property
    def total_bytes(self) -> int:
        """Size of all outputs."""
        rows, tokens = len(self.encoded), int(self.encoded.lengths.sum())
        a_row = sum(self.widths[name] for name in _ROW_OUTPUTS if name in self.widths)
        a_token = sum(width for name, width in self.widths.items() if name not in _ROW_OUTPUTS)
        return _TYPES[self.precision].itemsize * (rows * a_row + tokens * a_token) + 8 * (rows + 1)


def run_cache_stage(run: Run) -> dict[str, Any]:
    """Fill ``cache/`` with the index of the store that holds the teacher's outputs for this run."""

    def build(folder: Path, _: Path) -> dict[str, Any]:
        summary, made = _ensure(run)[1:]
        if not made:
            say(f"cache: {summary['rows']:,} rows, {summary['bytes'] / 1e6:.1f} MB, made before")
        write_json(folder / "cache.json", summary)
        return summary

    return run_stage(run, "cache", _inputs(run), ("data", "teacher"), build)


def load_cache(run: Run) -> TeacherOutputs:
    """Open the outputs, after checking each shard against its hash; what is missing or damaged is made again."""
    return _ensure(run)[0]


def _signals(run: Run) -> Signals:
    """What is read of the teacher.

    :raises CompressError: If teacher and student cannot be compared so; said before the teacher is asked.
    """
    student, summary = run.recipe.student, run.manifest["stages"]["teacher"]["summary"]
    teacher = Shape(summary["layers"], summary["width"], summary["heads"])
    own = Shape(student.layers, student.hidden_size, student.heads)
    if student.every_nth_layer:
        own = Shape(teacher.layers // student.every_nth_layer, teacher.width, teacher.heads)
    check_comparable(student.distillation, own, teacher)
    return plan_signals(student.distillation, own.layers, teacher.layers).teacher


def _ensure(run: Run) -> tuple[TeacherOutputs, dict[str, Any], bool]:
    """Open the store; shards that are missing or damaged are made first.

    :return: The outputs, what to note of them, and whether something was made.
    """
    key = content_hash({"teacher": run.digest("teacher"), "data": run.digest("data"), **_inputs(run)})
    folder = run.folder.parent / ".cache" / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        index = _read_index(folder)
        missing = [number for number, shard in enumerate(index["shards"]) if not _intact(folder, shard)]
        made = bool(missing or not index["shards"])
        if made:
            work = _plan(run, folder)
            if not index["shards"]:
                index = _new_index(work)
                missing = list(range(len(index["shards"])))
            _make_shards(run, work, index, missing)
    size = sum(shard["bytes"] for shard in index["shards"])
    summary = {"store": key, "rows": index["rows"], "bytes": size, "shards": len(index["shards"])}
    return TeacherOutputs(folder, index), summary, made


def _inputs(run: Run) -> dict[str, Any]:
    """What the outputs depend on, besides the teacher and the data."""
    student = run.recipe.student
    return {
        "languages": student.languages,
        "pivot": student.distillation.pivot,
        "max_length": run.recipe.data.max_length,
        "signals": asdict(_signals(run)),
        "precision": student.cache.precision,
    }


def _plan(run: Run, folder: Path) -> _Work:
    data, signals = load_data(run), _signals(run)
    tokenizer = load_tokenizer(str(run.path_of("teacher")))
    rows = build_pool(data, run.recipe).teacher_rows
    encoded = rows.encoded(tokenizer, run.recipe.data.max_length, run.folder / ".work" / "teacher-rows.arrow")
    width = run.manifest["stages"]["teacher"]["summary"]["width"]
    widths = {"logits": len(data.labels), **signals.widths(width), **({"sentence": width} if signals.sentence else {})}
    return _Work(folder, encoded, signals, run.recipe.student.cache.precision, widths, tokenizer.pad_token_id)


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "index.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {"shards": []}


def _new_index(work: _Work) -> dict[str, Any]:
    rows = len(work.encoded)
    shards = max(1, min(-(-work.total_bytes // _SHARD_BYTES), rows // _FEWEST_ROWS))
    per_shard = -(-rows // shards)
    files = [{"file": f"shard-{number:05}.safetensors"} for number in range(-(-rows // per_shard))]
    return {"rows": rows, "rows_per_shard": per_shard, "shards": files}


def _intact(folder: Path, shard: dict[str, str]) -> bool:
    path = folder / shard["file"]
    if "sha256" not in shard:
        return False
    if path.is_file() and file_sha256(path) == shard["sha256"]:
        return True
    say(f"cache: {path} is damaged or missing; making it again")
    return False


def _check_space(run: Run, work: _Work) -> None:
    total, limit = work.total_bytes, run.recipe.student.cache.limit_gb
    if total > limit * 1e9:
        raise CompressError(
            f"student.cache.limit_gb: the teacher's outputs would take {total / 1e9:.2f} GB, the limit is {limit:g}; "
            "raise it, set precision to fp16, or ask for fewer signals"
        )
    free = shutil.disk_usage(work.folder).free
    if total > free:
        raise CompressError(
            f"{work.folder}: the teacher's outputs take {total / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; "
            "free space or choose another --output"
        )


def _make_shards(run: Run, work: _Work, index: dict[str, Any], missing: list[int]) -> None:
    """Make the shards that are not there or not whole; the index is written after each."""
    _check_space(run, work)
    say(f"cache: outputs of {index['rows']:,} rows, {work.total_bytes / 1e6:.1f} MB")
    teacher = load_classifier(str(run.path_of("teacher")), load_data(run).labels, as_is=True)
    prepare(teacher, work.signals)
    teacher = teacher.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    with progress() as bar:
        task = bar.add_task("teacher outputs, shards", total=len(missing))
        for number in missing:
            shard = index["shards"][number]
            rows = work.encoded[number * index["rows_per_shard"] : (number + 1) * index["rows_per_shard"]]
            path = work.folder / shard["file"]
            partial = path.with_suffix(".partial")
            save_file(_outputs(teacher, work, rows), partial)
            shard.update(sha256=file_sha256(partial), bytes=partial.stat().st_size)
            partial.replace(path)
            write_json(work.folder / "index.partial", index)
            (work.folder / "index.partial").replace(work.folder / "index.json")
            bar.advance(task)


def _outputs(teacher: PreTrainedModel, work: _Work, encoded: list[Encoded]) -> dict[str, Tensor]:
    """One shard."""
    device = next(teacher.parameters()).device
    offsets = np.cumsum([0] + [len(row["input_ids"]) for row in encoded])
    filled: dict[str, Tensor] = {"offsets": torch.from_numpy(offsets)}
    for indices in batches_by_length(encoded, _BATCH_SIZE):
        inputs = pad([encoded[index] for index in indices], work.pad_id)
        with torch.inference_mode():
            found = read(teacher, {name: torch.from_numpy(a).to(device) for name, a in inputs.items()}, work.signals)
        for name, values in found.items():
            values = values.to("cpu", _TYPES[work.precision])
            if name in _ROW_OUTPUTS:
                filled.setdefault(name, torch.empty(len(encoded), *values.shape[1:], dtype=values.dtype))
                filled[name][indices] = values
                continue
            filled.setdefault(name, torch.empty(int(offsets[-1]), *values.shape[2:], dtype=values.dtype))
            for position, index in enumerate(indices):
                filled[name][offsets[index] : offsets[index + 1]] = values[position, : len(encoded[index]["input_ids"])]
    return filled
