"""The cache stage: what the teacher says about the training rows, computed once and read memory-mapped.

The outputs lie in a store beside the runs, ``<output>/.cache/<key>/``, where every later run with the same teacher and
rows finds them: shards in safetensors, and an index with their hashes. A shard that is missing, because the work was
interrupted, or damaged, is made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save_file
from torch import Tensor

from compress.console import progress, say
from compress.data.batches import run_batches
from compress.data.encode import pad, padded
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.data.table import EncodedTable
from compress.errors import CompressError
from compress.models.load import load_config, load_model, load_tokenizer
from compress.models.sentence_folder import head_of
from compress.runs.directory import Run
from compress.runs.files import atomic_file, content_hash, file_sha256, write_json
from compress.runs.stages import run_stage
from compress.runtimes.memory import check_row
from compress.tasks.contract import NO_LABEL, Example, Task
from compress.teacher.pool import asked_rows, build_pool
from compress.teacher.predictions import training_logits
from compress.teacher.sequences import load_student_data, wanted_stages
from compress.teacher.signals import Shape, Signals, check_comparable, plan_signals, prepare, read
from compress.teacher.store import OutputsIndex, Shard, TeacherOutputs, is_intact, read_index, write_index
from compress.teacher.summary import CACHE, TEACHER, OutputsSummary, source_stage
from compress.training.precision import takes_bf16, told_without_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BATCH_SIZE = 64
_SHARD_BYTES = 256 * 2**20
_FEWEST_EXAMPLES = 64
_TYPES = {"fp32": torch.float32, "fp16": torch.float16}


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
        itemsize = _TYPES[self.precision].itemsize + (torch.int32.itemsize if self.task.KEPT_LOGITS else 0)
        return itemsize * numbers + 8 * (2 * examples + 1)


@dataclass(frozen=True)
class _Says:
    """What tells the outputs of examples; ``vocabulary`` is the width of those of models that write."""

    of: Callable[[list[Example]], dict[str, Tensor]]
    vocabulary: int = 1


def run_cache_stage(run: Run) -> OutputsSummary:
    """Fill ``cache/`` with the index of the store that holds the teacher's outputs for this run."""

    def build(folder: Path, _: Path) -> OutputsSummary:
        summary, made = _ensure(run)[1:]
        if not made:
            say(f"cache: {summary.examples:,} examples, {summary.bytes / 1e6:.1f} MB, made before")
        write_json(folder / "cache.json", summary.model_dump(mode="json"))
        return summary

    return run_stage(run, CACHE, _inputs(run), (DATA.name, source_stage(run).name, *wanted_stages(run)), build)


def load_cache(run: Run) -> TeacherOutputs:
    """Open the outputs, after checking each shard against its hash; what is missing or damaged is made again."""
    return _ensure(run)[0]


def _signals(run: Run) -> Signals:
    """What is read of the teacher.

    :raises CompressError: If teacher and student cannot be compared so; said before the teacher is asked.
    """
    student, summary = run.recipe.student, run.summary(source_stage(run))
    teacher = Shape(summary.layers, summary.width, summary.heads)
    layers = teacher.layers // student.every_nth_layer if student.every_nth_layer else student.layers
    width, heads = (teacher.width, teacher.heads) if student.copies_layers else (student.hidden_size, student.heads)
    own = Shape(layers, width, heads)
    check_comparable(student.distillation, own, teacher)
    return plan_signals(student.distillation, own.layers, teacher.layers).teacher


def _ensure(run: Run) -> tuple[TeacherOutputs, OutputsSummary, bool]:
    """Open the store; shards that are missing or damaged are made first.

    :return: The outputs, what to note of them, and whether something was made.
    """
    parents = {stage: run.digest(stage) for stage in (source_stage(run).name, DATA.name, *wanted_stages(run))}
    key = content_hash({**parents, **_inputs(run)})
    folder = run.folder.parent / ".cache" / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        index = read_index(folder)
        missing = [number for number, shard in enumerate(index.shards) if not is_intact(folder, shard)] if index else []
        made = index is None or bool(missing)
        if made:
            work = _plan(run, folder)
            if index is None:
                index = _new_index(work)
                missing = list(range(len(index.shards)))
            index = _make_shards(run, work, index, missing)
    assert index is not None
    size = sum(shard.bytes for shard in index.shards)
    summary = OutputsSummary(store=key, examples=index.examples, bytes=size, shards=len(index.shards))
    return TeacherOutputs(folder, index), summary, made


def _inputs(run: Run) -> Mapping[str, object]:
    """What the outputs depend on, besides the teacher and the data."""
    student = run.recipe.student
    return {
        **run.tokenisation,
        "languages": student.languages,
        "pivot": student.distillation.pivot,
        "signals": asdict(_signals(run)),
        "precision": student.cache.precision,
        "compute": student.cache.compute,
    }


def _plan(run: Run, folder: Path) -> _Work:
    data, signals = load_student_data(run), _signals(run)
    tokenizer = load_tokenizer(run.path_of(source_stage(run).name), run.trusts_code)
    rows = asked_rows(data, run.recipe, build_pool(data, run.recipe))
    encode = run.task.encoder(tokenizer, run.recipe.data, data.labels)
    encoded = rows.encoded(encode, run.folder / ".work" / "teacher-rows.arrow")
    width = run.summary(source_stage(run)).width
    by_token = signals.widths(width)
    widths = {"logits": _outputs_of_example(run, data.labels), **by_token}
    if signals.sentence:
        widths["sentence"] = width
    per_token = [*by_token, *(["logits", "classes"] if run.task.OUTPUT_AXIS else [])]
    precision = run.recipe.student.cache.precision
    return _Work(folder, run.task, encoded, signals, precision, widths, per_token, tokenizer.pad_token_id)


def _outputs_of_example(run: Run, labels: Sequence[str]) -> int:
    """Numbers that are kept of what the teacher says of an example, or of each of its elements."""
    if run.task.VECTORS:
        config = load_config(run.path_of(source_stage(run).name), run.trusts_code)
        return head_of(config).dimensions(config.hidden_size)
    return run.task.KEPT_LOGITS or len(labels) or len(run.task.OUTPUTS)


def _elements(task: Task) -> str:
    """The list of an example whose elements have outputs of their own."""
    return task.OUTPUT_AXIS or "input_ids"


def _new_index(work: _Work) -> OutputsIndex:
    examples = len(work.encoded)
    shards = max(1, min(-(-work.total_bytes // _SHARD_BYTES), examples // _FEWEST_EXAMPLES))
    per_shard = -(-examples // shards)
    files = [Shard(file=f"shard-{number:05}.safetensors") for number in range(-(-examples // per_shard))]
    return OutputsIndex(examples=examples, examples_per_shard=per_shard, per_token=work.per_token, shards=files)


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


def _make_shards(run: Run, work: _Work, index: OutputsIndex, missing: list[int]) -> OutputsIndex:
    """Make the shards that are not there or not whole; the index is written after each."""
    _check_space(run, work)
    say(f"cache: outputs of {index.examples:,} examples, {work.total_bytes / 1e6:.1f} MB")
    says = _file(run, work) if run.recipe.teacher.predictions else _model(run, work)
    with progress() as bar:
        task = bar.add_task("teacher outputs, shards", total=len(missing))
        for number in missing:
            first = number * index.examples_per_shard
            examples = work.encoded[first : first + index.examples_per_shard]
            path = work.folder / index.shards[number].file
            with atomic_file(path) as partial:
                save_file(_outputs(says, work, examples), partial)
                shard = Shard(file=path.name, sha256=file_sha256(partial), bytes=partial.stat().st_size)
            index = index.with_shard(number, shard)
            write_index(work.folder, index)
            bar.advance(task)
    return index


def _file(run: Run, work: _Work) -> _Says:
    """What a file says, in place of a teacher."""
    logits = torch.from_numpy(training_logits(run)).to(_TYPES[work.precision])
    return _Says(lambda examples: {"logits": logits[[example["row"] for example in examples]]})


def _model(run: Run, work: _Work) -> _Says:
    """What the teacher says, a batch at a time."""
    folder, labels = run.path_of(TEACHER.name), load_data(run).labels
    teacher = load_model(run.task, folder, labels, run.trusts_code, run.recipe.teacher.dtype)
    longest = int(work.encoded.lengths.max())
    check_row(folder, run.task, longest, vocabulary=run.task.GENERATES, trust_remote_code=run.trusts_code)
    prepare(teacher, work.signals)
    teacher = teacher.to("cuda" if torch.cuda.is_available() else "cpu").eval()  # type: ignore[arg-type]
    vocabulary = teacher.config.vocab_size if work.task.GENERATES else 1
    asked = run.recipe.student.cache.compute == "bf16"
    faster = asked and takes_bf16()
    if faster:
        say(f"cache: computed in bf16; {_difference(teacher, work)}")
    elif asked:
        say(told_without_bf16("cache"))

    def of(examples: list[Example]) -> dict[str, Tensor]:
        with _computing(teacher, faster=faster):
            return _said(teacher, work, examples)

    return _Says(of, vocabulary)


def _computing(teacher: PreTrainedModel, *, faster: bool) -> torch.autocast:
    """Products in bf16 while the block runs, or as the weights are."""
    return torch.autocast(next(teacher.parameters()).device.type, torch.bfloat16, enabled=faster)


def _difference(teacher: PreTrainedModel, work: _Work) -> str:
    """How far outputs in bf16 are from those in 32 bits, on some examples: in words."""
    places = np.linspace(0, len(work.encoded) - 1, min(len(work.encoded), _BATCH_SIZE)).astype(int)
    examples, found = work.encoded.at(places.tolist()), []
    for faster in (False, True):
        with _computing(teacher, faster=faster):
            found.append(_said(teacher, work, examples)["logits"].float())
    whole, other = found
    most = (whole - other).abs().max() / whole.std().clamp(min=torch.finfo(torch.float32).tiny)
    told = f"of {len(examples)} rows, outputs differ by at most {100 * most:.1f} % of their standard deviation"
    if not work.task.SINGLE_LABEL:
        return told
    return f"{told}, and {int((whole.argmax(-1) != other.argmax(-1)).sum())} predictions"


def _outputs(says: _Says, work: _Work, examples: list[Example]) -> dict[str, Tensor]:
    """One shard."""
    lengths = [len(example[_elements(work.task)]) for example in examples]
    offsets = np.cumsum([0, *lengths])
    filled = {"offsets": torch.from_numpy(offsets), "rows": torch.tensor([example["row"] for example in examples])}

    def run(indices: list[int]) -> dict[str, Tensor]:
        return says.of([examples[index] for index in indices])

    for indices, found in run_batches(examples, _BATCH_SIZE, run, says.vocabulary):
        for name, values in found.items():
            if name not in work.per_token:
                filled.setdefault(name, torch.empty(len(examples), *values.shape[1:], dtype=values.dtype))
                filled[name][indices] = values
                continue
            filled.setdefault(name, torch.empty(int(offsets[-1]), *values.shape[2:], dtype=values.dtype))
            for position, index in enumerate(indices):
                filled[name][offsets[index] : offsets[index + 1]] = values[position, : lengths[index]]
    _check_finite(filled, work.precision)
    return filled


def _check_finite(filled: Mapping[str, Tensor], precision: str) -> None:
    """Refuse outputs that nothing can be learnt from.

    :raises CompressError: Naming them.
    """
    for name, values in filled.items():
        if values.is_floating_point() and not values.isfinite().all():
            mend = (
                "set student.cache.precision: fp32" if precision == "fp16" else "its weights are damaged; get it again"
            )
            raise CompressError(f"teacher: its outputs ({name}) are infinite or no numbers on some rows; {mend}")


def _said(teacher: PreTrainedModel, work: _Work, examples: list[Example]) -> dict[str, Tensor]:
    """What the teacher says about a batch, as it is stored."""
    device = next(teacher.parameters()).device
    inputs = pad(examples, work.pad_id)
    tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
    labels = torch.from_numpy(padded([example["labels"] for example in examples], NO_LABEL)).to(device)
    with torch.inference_mode():
        given = work.task.model_inputs(teacher.config, tensors, labels)
        found = read(teacher, given, work.signals, work.task.OUTPUTS)
    if work.task.KEPT_LOGITS:
        found["logits"], classes = found["logits"].topk(work.task.KEPT_LOGITS)
        found["classes"] = classes.int()
    return {
        name: values.to("cpu", _TYPES[work.precision] if values.is_floating_point() else values.dtype)
        for name, values in found.items()
    }
