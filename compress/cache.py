"""The cache stage: what the teacher says about every training row, computed once and read memory-mapped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import progress, say
from compress.data.encode import Encoded, batches_by_length, encode, pad
from compress.data.stage import load_data
from compress.models import load_classifier, load_tokenizer
from compress.run import Run, run_stage

_BATCH_SIZE = 64


@dataclass(frozen=True)
class TeacherOutputs:
    """The teacher's outputs on the training rows, memory-mapped.

    ``logits`` is float32 (rows, labels). ``hidden``, where it was asked for, is float16 (tokens, layers, width): the
    hidden states of all rows one after the other, row ``i`` from ``offsets[i]`` to ``offsets[i + 1]``.
    """

    logits: np.ndarray
    hidden: np.ndarray | None
    offsets: np.ndarray


def run_cache_stage(run: Run) -> dict[str, Any]:
    """Fill ``cache/``; the key holds the hashes of teacher and data, so other ones are never mixed up."""
    inputs = {"max_length": run.recipe.data.max_length, "hidden_layers": _hidden_layers(run)}
    return run_stage(run, "cache", inputs, ("data", "teacher"), lambda folder, _: _build(run, folder))


def load_cache(run: Run) -> TeacherOutputs:
    """Map a run's cache into memory."""
    folder = run.path_of("cache")
    hidden = folder / "hidden.npy"
    return TeacherOutputs(
        np.load(folder / "logits.npy", mmap_mode="r"),
        np.load(hidden, mmap_mode="r") if hidden.exists() else None,
        np.load(folder / "offsets.npy", mmap_mode="r"),
    )


def matched_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """The teacher layer, counted from 1, that each student layer learns from: spread uniformly (TinyBERT)."""
    return [round((layer + 1) * teacher_layers / student_layers) for layer in range(student_layers)]


def _hidden_layers(run: Run) -> list[int]:
    student = run.recipe.student
    if not student.distillation.hidden_weight:
        return []
    depth = run.manifest["stages"]["teacher"]["summary"]["layers"]
    layers = depth // student.every_nth_layer if student.every_nth_layer else student.layers
    return matched_layers(layers, depth)


def _build(run: Run, folder: Path) -> dict[str, Any]:
    data = load_data(run)
    teacher = str(run.path_of("teacher"))
    tokenizer = load_tokenizer(teacher)
    encoded = encode(tokenizer, data.splits["train"], run.recipe.data.max_length)
    model = load_classifier(teacher, data.labels, as_is=True)
    outputs = _create(folder, encoded, len(data.labels), _hidden_layers(run), model.config.hidden_size)
    _fill(outputs, model, encoded, tokenizer.pad_token_id, _hidden_layers(run))
    size = sum(path.stat().st_size for path in folder.iterdir())
    say(f"cache: teacher outputs of {len(encoded):,} rows, {size / 1e6:.1f} MB")
    agreement = float(np.mean(outputs.logits.argmax(axis=1) == np.array(data.targets("train"))))
    return {"rows": len(encoded), "bytes": size, "teacher agrees with the labels": round(agreement, 4)}


def _create(folder: Path, encoded: list[Encoded], labels: int, layers: list[int], width: int) -> TeacherOutputs:
    offsets = np.cumsum([0] + [len(row["input_ids"]) for row in encoded])
    np.save(folder / "offsets.npy", offsets)
    return TeacherOutputs(
        _mapped(folder / "logits.npy", np.float32, (len(encoded), labels)),
        _mapped(folder / "hidden.npy", np.float16, (int(offsets[-1]), len(layers), width)) if layers else None,
        offsets,
    )


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped array whose disk space is reserved, so that a full disk is an error and not a crash."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _fill(outputs: TeacherOutputs, model, encoded: list[Encoded], pad_id: int, layers: list[int]) -> None:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.to(device).eval()
    with progress() as bar, torch.inference_mode():
        task = bar.add_task("teacher outputs", total=len(encoded))
        for indices in batches_by_length(encoded, _BATCH_SIZE):
            inputs = pad([encoded[index] for index in indices], pad_id)
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            result = model(**tensors, output_hidden_states=bool(layers))
            outputs.logits[indices] = result.logits.float().cpu().numpy()
            if outputs.hidden is not None:
                states = torch.stack([result.hidden_states[layer] for layer in layers], dim=2).half().cpu().numpy()
                for position, index in enumerate(indices):
                    start, end = outputs.offsets[index], outputs.offsets[index + 1]
                    outputs.hidden[start:end] = states[position, : end - start]
            bar.advance(task, len(indices))
    for array in (outputs.logits, outputs.hidden):
        if isinstance(array, np.memmap):
            array.flush()
