"""Who is measured: teacher, student, every variant of a run, and models of the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure.reference import REFERENCE
from compress.console import say
from compress.errors import CompressError
from compress.files import read_limited
from compress.reports.bench import NotMeasured
from compress.runs.directory import Run
from compress.runtimes.openvino import openvino_models
from compress.runtimes.predict import runtime_of
from compress.runtimes.tensorrt import runs_here
from compress.student.summary import (
    STUDENT,
    exported_name,
    exported_summary,
    original_name,
    original_summary,
    reference_stages,
)
from compress.targets import is_elsewhere, without_bf16
from compress.tasks.contract import Task
from compress.teacher.summary import MODEL, TEACHER
from compress.variants.registry import VARIANTS, Runtime
from export.variants.summary import variant_stage

_LARGEST_CONFIG = 100_000_000  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes a part of file names
_TAKEN = (TEACHER.name, STUDENT.name, MODEL.name, *VARIANTS)


@dataclass(frozen=True)
class Contender:
    """One model to measure.

    ``model`` is its folder or its ONNX file, ``tokenizer`` the folder of its tokenizer and configuration, ``labels``
    what its outputs mean, in their order. ``target`` is what it was made for, ``origin`` the stage that made it; none
    for a model that the user named. Code beside one that the run made is run if the run ``trusts_code``.
    """

    name: str
    model: Path
    tokenizer: Path
    labels: tuple[str, ...]
    runtime: Runtime
    target: str = "any"
    shape: str = ""
    origin: str | None = None
    trusts_code: bool = False

    @property
    def is_for_this_machine(self) -> bool:
        """Whether it was made for the processor of this machine, for any, or as an engine that runs here."""
        # Engines that do not run here are left out.
        return (self.name in VARIANTS and VARIANTS[self.name].is_engine) or not is_elsewhere(self.target)


def find_contenders(run: Run, labels: Sequence[str]) -> tuple[list[Contender], list[NotMeasured]]:
    """What this run has and this machine can run, the one that it starts from first; and what is left out.

    :raises CompressError: If the run has no model yet.
    """
    original = original_name(run)
    run.path_of(original)
    found: list[Contender] = []
    missing: list[NotMeasured] = []
    for name in (*reference_stages(run), *VARIANTS):
        if name not in run.manifest.stages:
            continue
        if reason := run.outdated(name):
            missing.append(NotMeasured(what=name, why=f"{reason}; `compress export` makes it anew"))
            say(f"bench: {name} is left out: {reason}; `compress export` makes it anew")
            continue
        target = "any"
        if name in VARIANTS:
            summary = run.summary(variant_stage(name))
            target = summary.target
            if len(summary.engines) > 1:
                missing.append(NotMeasured(what=name, why="nothing here runs engines of models that write"))
                continue
            if not all(runs_here(engine) for engine in summary.engines):
                missing.append(NotMeasured(what=name, why=f"needs a GPU ({target})"))
                continue
        if name in VARIANTS and VARIANTS[name].precision == "bf16" and (reason := without_bf16()):
            missing.append(NotMeasured(what=name, why=reason))
            continue
        folder = run.path_of(name)
        shape = (original_summary(run) if name == original else exported_summary(run)).shape
        tokenizer = _tokenizer_beside(folder, run)
        runtime, trusts_code = runtime_of(folder), run.trusts_code
        found.append(Contender(name, folder, tokenizer, tuple(labels), runtime, target, shape, name, trusts_code))
    return found, missing


def user_contenders(named: Sequence[str], run: Run, labels: Sequence[str]) -> list[Contender]:
    """Models that the user names as ``name=path``: a model folder or an ONNX file.

    A file has the tokenizer and configuration of its folder, or else the student's.

    :raises CompressError: If the path holds no model, or its labels are not the data's.
    """
    found: list[Contender] = []
    for assignment in named:
        name, separator, text = assignment.partition("=")
        if not separator or not _NAME.fullmatch(name) or not text:
            raise CompressError(
                f"--variant {assignment}: expected NAME=PATH, for example --variant ours=model.onnx; "
                "a name has letters, digits, '.', '_' and '-'"
            )
        if name in (*_TAKEN, *run.manifest.stages, REFERENCE, *(contender.name for contender in found)):
            raise CompressError(f"--variant {assignment}: the name '{name}' is taken; choose another")
        path = Path(text)
        if not _holds_model(path, run.task):
            raise CompressError(
                f"--variant {name}: {path} holds no model; name an ONNX file, or a folder with model.onnx, "
                "openvino_model.xml or model.safetensors"
            )
        if path.is_file() and len(run.task.GRAPHS) > 1:
            raise CompressError(f"--variant {name}: a model that writes has three graphs; name their folder")
        folder = path if path.is_dir() else path.parent
        own = _labels_of(name, folder, labels)
        found.append(Contender(name, path, _tokenizer_beside(folder, run), own, runtime_of(path)))
    return found


def _tokenizer_beside(folder: Path, run: Run) -> Path:
    """The folder of a model's tokenizer: its own, or else the student's."""
    return folder if any(folder.glob("tokenizer*")) else run.path_of(exported_name(run))


def _holds_model(path: Path, task: Task) -> bool:
    """Whether there is an ONNX file, or a folder with what a model of the task needs."""
    if not path.is_dir():
        return path.is_file() and path.suffix == ".onnx"
    if all((path / graph).exists() for graph in task.GRAPHS) or any(path.glob("*.safetensors")):
        return True
    return all((path / name).exists() for name in openvino_models(task))


def _labels_of(name: str, folder: Path, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model in the order of its outputs, as its configuration tells; else the data's order."""
    path = folder / "config.json"
    names = _names_in(name, path) if path.exists() and labels else ()
    if all(label.startswith("LABEL_") for label in names):
        return tuple(labels)
    if set(names) != set(labels):
        raise CompressError(
            f"--variant {name}: its labels ({', '.join(names[:5])} …) are not the data's ({', '.join(labels[:5])} …); "
            f"rename them in {path}"
        )
    return names


def _names_in(name: str, path: Path) -> tuple[str, ...]:
    """The labels that a configuration names, by their numbers."""
    try:
        own = json.loads(read_limited(path, _LARGEST_CONFIG)).get("id2label") or {}
        names = {int(number): str(label) for number, label in own.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CompressError(f"--variant {name}: {path}: no configuration of a model; copy it again") from error
    if sorted(names) != [*range(len(own))]:
        raise CompressError(f"--variant {name}: {path}: id2label must number the labels from 0, each once")
    return tuple(names[number] for number in range(len(names)))
