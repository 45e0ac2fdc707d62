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
from compress.data.encode import batches_by_length, pad, padded
from compress.data.stage import load_data
from compress.data.table import EncodedTable
from compress.errors import CompressError
from compress.models.load import load_model, load_tokenizer
from compress.runs.run import Run, content_hash, file_sha256, run_stage, write_json
from compress.tasks.contract import NO_LABEL, Example, Task
from compress.teacher.pool import build_pool
from compress.teacher.sequences import load_student_data, wanted_stages
from compress.teacher.signals import Shape, Signals, check_comparable, plan_signals, prepare, read

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH_SIZE = 64
_SHARD_BYTES = 256 * 2**20
_FEWEST_EXAMPLES = 64
_TYPES = {"fp32": torch.float32, "fp16": torch.float16}
_KEPT_CLASSES = 16
_BOOKKEEPING = ("offsets", "rows")


class TeacherOutputs:
    """The teacher's outputs on its examples, in memory-mapped shards.

    A shard holds the outputs for whole examples, ``logits`` (examples, labels) and ``sentence`` (examples, width), and
    those for their elements, of all examples one after the other: signals (tokens, layers, width) and the ``logits`` of
    some tasks (tokens, labels). Example ``i`` lies from ``offsets[i]`` to ``offsets[i + 1]``; ``rows[i]`` is the number
    of the row that it is from. Where text is written, the elements are the tokens of the translation, of whose
    ``logits`` the largest are kept, and which ``classes`` those are, both (tokens, kept).
    """

    def __init__(self, folder: Path, index: dict[str, Any]):
        self._examples_per_shard: int = index["examples_per_shard"]
        self._per_token: list[str] = index["per_token"]
        self._paths = [folder / shard["file"] for shard in index["shards"]]
        self._opened: dict[int, dict[str, Tensor]] = {}

    def logits(self) -> np.ndarray:
        """All logits, float32 (examples, labels), where they are for whole examples."""
        return self._whole("logits").float().numpy()

    def rows(self) -> np.ndarray:
        """For each example the number of the row that it is from, int64 (examples,), rising."""
        return self._whole("rows").numpy()

    def batch(self, examples: Sequence[int], tokens: int) -> dict[str, Tensor]:
        """The outputs for a batch, float32 (classes: int64), those of elements padded with zeros to ``tokens``."""
        places = [divmod(example, self._examples_per_shard) for example in examples]
        names = [name for name in self._shard(places[0][0]) if name not in _BOOKKEEPING]
        gathered = {name: self._gathered(name, places, tokens) for name in names}
        return {name: found.float() if found.is_floating_point() else found.long() for name, found in gathered.items()}

    def _gathered(self, name: str, places: list[tuple[int, int]], tokens: int) -> Tensor:
        if name not in self._per_token:
            return torch.stack([self._shard(number)[name][example] for number, example in places])
        shape, dtype = self._shard(places[0][0])[name].shape[1:], self._shard(places[0][0])[name].dtype
        gathered = torch.zeros(len(places), tokens, *shape, dtype=dtype)
        for position, (number, example) in enumerate(places):
            shard = self._shard(number)
            states = shard[name][shard["offsets"][example].item() : shard["offsets"][example + 1].item()]
            gathered[position, : len(states)] = states
        return gathered

    def _whole(self, name: str) -> Tensor:
        return torch.cat([self._shard(number)[name] for number in range(len(self._paths))])

    def _shard(self, number: int) -> dict[str, Tensor]:
        if number not in self._opened:
            with safe_open(self._paths[number], "pt") as file:  # tensors are views of the mapped file
                self._opened[number] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return self._opened[number]


@dataclass(frozen=True)
class _Work:
    """What the store of one key is to hold."""

    folder: Path
    task: Task
    encoded: EncodedTable
    signals: Signals
    precision: str
    widths: dict[str, int]
    per_token: list[str]
    pad_id: int

    @property
    def total_bytes(self) -> int:
        """Size of all outputs."""
        examples, tokens = len(self.encoded), int(self.encoded.lengths_of(_elements(self.task)).sum())
        numbers = sum((tokens if name in self.per_token else examples) * width for name, width in self.widths.items())
        itemsize = _TYPES[self.precision].itemsize + (torch.int32.itemsize if self.task.GENERATES else 0)
        return itemsize * numbers + 8 * (2 * examples + 1)


def run_cache_stage(run: Run) -> dict[str, Any]:
    """Fill ``cache/`` with the index of the store that holds the teacher's outputs for this run."""

    def build(folder: Path, _: Path) -> dict[str, Any]:
        summary, made = _ensure(run)[1:]
        if not made:
            say(f"cache: {summary['examples']:,} examples, {summary['bytes'] / 1e6:.1f} MB, made before")
        write_json(folder / "cache.json", summary)
        return summary

    return run_stage(run, "cache", _inputs(run), ("data", "teacher", *wanted_stages(run)), build)


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
    parents = {stage: run.digest(stage) for stage in ("teacher", "data", *wanted_stages(run))}
    key = content_hash({**parents, **_inputs(run)})
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
    summary = {"store": key, "examples": index["examples"], "bytes": size, "shards": len(index["shards"])}
    return TeacherOutputs(folder, index), summary, made


def _inputs(run: Run) -> dict[str, Any]:
    """What the outputs depend on, besides the teacher and the data."""
    student = run.recipe.student
    return {
        **run.tokenisation,
        "languages": student.languages,
        "pivot": student.distillation.pivot,
        "signals": asdict(_signals(run)),
        "precision": student.cache.precision,
    }


def _plan(run: Run, folder: Path) -> _Work:
    data, signals = load_student_data(run), _signals(run)
    tokenizer = load_tokenizer(str(run.path_of("teacher")))
    rows = build_pool(data, run.recipe).teacher_rows
    encode = run.task.encoder(tokenizer, run.recipe.data, data.labels)
    encoded = rows.encoded(encode, run.folder / ".work" / "teacher-rows.arrow")
    width = run.manifest["stages"]["teacher"]["summary"]["width"]
    by_token = signals.widths(width)
    classes = _KEPT_CLASSES if run.task.GENERATES else len(data.labels) or len(run.task.OUTPUTS)
    widths = {"logits": classes, **by_token}
    if signals.sentence:
        widths["sentence"] = width
    per_token = [*by_token, *(["logits", "classes"] if run.task.ONE_FOR_EACH else [])]
    precision = run.recipe.student.cache.precision
    return _Work(folder, run.task, encoded, signals, precision, widths, per_token, tokenizer.pad_token_id)


def _elements(task: Task) -> str:
    """The list of an example whose elements have outputs of their own."""
    return task.ONE_FOR_EACH or "input_ids"


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "index.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {"shards": []}


def _new_index(work: _Work) -> dict[str, Any]:
    examples = len(work.encoded)
    shards = max(1, min(-(-work.total_bytes // _SHARD_BYTES), examples // _FEWEST_EXAMPLES))
    per_shard = -(-examples // shards)
    files = [{"file": f"shard-{number:05}.safetensors"} for number in range(-(-examples // per_shard))]
    return {"examples": examples, "examples_per_shard": per_shard, "per_token": work.per_token, "shards": files}


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
    say(f"cache: outputs of {index['examples']:,} examples, {work.total_bytes / 1e6:.1f} MB")
    teacher = load_model(run.task, str(run.path_of("teacher")), load_data(run).labels, as_is=True)
    prepare(teacher, work.signals)
    teacher = teacher.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    with progress() as bar:
        task = bar.add_task("teacher outputs, shards", total=len(missing))
        for number in missing:
            shard = index["shards"][number]
            first = number * index["examples_per_shard"]
            examples = work.encoded[first : first + index["examples_per_shard"]]
            path = work.folder / shard["file"]
            partial = path.with_suffix(".partial")
            save_file(_outputs(teacher, work, examples), partial)
            shard.update(sha256=file_sha256(partial), bytes=partial.stat().st_size)
            partial.replace(path)
            write_json(work.folder / "index.partial", index)
            (work.folder / "index.partial").replace(work.folder / "index.json")
            bar.advance(task)


def _outputs(teacher: PreTrainedModel, work: _Work, examples: list[Example]) -> dict[str, Tensor]:
    """One shard."""
    device = next(teacher.parameters()).device
    lengths = [len(example[_elements(work.task)]) for example in examples]
    offsets = np.cumsum([0, *lengths])
    filled = {"offsets": torch.from_numpy(offsets), "rows": torch.tensor([example["row"] for example in examples])}
    for indices in batches_by_length(examples, _BATCH_SIZE):
        inputs = pad([examples[index] for index in indices], work.pad_id)
        tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
        labels = torch.from_numpy(padded([examples[index]["labels"] for index in indices], NO_LABEL)).to(device)
        with torch.inference_mode():
            given = work.task.model_inputs(teacher.config, tensors, labels)
            found = read(teacher, given, work.signals, work.task.OUTPUTS)
        if work.task.GENERATES:
            found["logits"], classes = found["logits"].topk(_KEPT_CLASSES)
            found["classes"] = classes.int()
        for name, values in found.items():
            values = values.to("cpu", _TYPES[work.precision] if values.is_floating_point() else values.dtype)
            if name not in work.per_token:
                filled.setdefault(name, torch.empty(len(examples), *values.shape[1:], dtype=values.dtype))
                filled[name][indices] = values
                continue
            filled.setdefault(name, torch.empty(int(offsets[-1]), *values.shape[2:], dtype=values.dtype))
            for position, index in enumerate(indices):
                filled[name][offsets[index] : offsets[index + 1]] = values[position, : lengths[index]]
    return filled
