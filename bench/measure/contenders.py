"""Who is measured: teacher, student, every variant of a run, and models of the user's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compress.console import say
from compress.errors import CompressError
from compress.recipe.export import VARIANTS
from compress.runs.directory import Run
from compress.runtimes.openvino import OPENVINO_MODEL
from compress.targets import is_elsewhere

TEACHER, STUDENT, REFERENCE = "teacher", "student", "reference"
_VARIANTS = ("onnx", *VARIANTS, "onnx-chosen")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # it becomes a part of file names


@dataclass(frozen=True)
class Contender:
    """One model to measure.

    ``model`` is its folder or its ONNX file, ``tokenizer`` the folder of its tokenizer and configuration, ``labels``
    what its outputs mean, in their order. ``target`` is what it was made for, ``origin`` the stage that made it; none
    for a model that the user named.
    """

    name: str
    model: Path
    tokenizer: Path
    labels: tuple[str, ...]
    runtime: str
    target: str = "any"
    shape: str = ""
    origin: str | None = None

    @property
    def is_for_this_machine(self) -> bool:
        """Whether it was made for the processor of this machine, or for any."""
        return not is_elsewhere(self.target)


@dataclass(frozen=True)
class Missing:
    """What was not measured, and why."""

    what: str
    why: str


def find_contenders(run: Run, labels: Sequence[str]) -> tuple[list[Contender], list[Missing]]:
    """What this run has and this machine can run, the teacher first; and what is left out."""
    stages = run.manifest["stages"]
    run.path_of(TEACHER)
    found, missing = [], []
    for name in (TEACHER, STUDENT, *_VARIANTS, *(stage for stage in stages if stage.startswith("tensorrt-"))):
        if name not in stages:
            continue
        if not run.is_current(name):
            missing.append(Missing(name, "made from another student; `compress export` makes it anew"))
            say(f"bench: {name} was made from another student and is left out; `compress export` makes it anew")
            continue
        folder, summary = run.path_of(name), stages[name]["summary"]
        if name.startswith("tensorrt-") and not _engine_runs_here(folder):
            missing.append(Missing(name, f"needs a GPU ({summary['target']})"))
            continue
        shape = stages[TEACHER if name == TEACHER else STUDENT]["summary"]["shape"]
        place = summary.get("target", "any")
        tokenizer = folder if any(folder.glob("tokenizer*")) else run.path_of(STUDENT)
        found.append(Contender(name, folder, tokenizer, tuple(labels), _runtime(folder), place, shape, name))
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
        taken = (*_VARIANTS, *run.manifest["stages"], REFERENCE, *(contender.name for contender in found))
        if name in taken:
            raise CompressError(f"--variant {assignment}: the name '{name}' is taken; choose another")
        path = Path(text)
        folder = path if path.is_dir() else path.parent
        if path.is_file() and path.suffix == ".onnx":
            runtime = "ONNX Runtime"
        elif path.is_dir() and _holds_model(path, run.task.GENERATES):
            runtime = _runtime(path)
        else:
            raise CompressError(
                f"--variant {name}: {path} holds no model; name an ONNX file, or a folder with model.onnx, "
                "openvino_model.xml or model.safetensors"
            )
        if run.task.GENERATES and path.is_file():
            raise CompressError(f"--variant {name}: a model that writes has three graphs; name their folder")
        tokenizer = folder if any(folder.glob("tokenizer*")) else run.path_of(STUDENT)
        found.append(Contender(name, path, tokenizer, _labels_of(name, folder, labels), runtime))
    return found


def _runtime(folder: Path) -> str:
    if (folder / OPENVINO_MODEL).exists():
        return "OpenVINO"
    if any(folder.glob("*.engine")):
        return "TensorRT"
    return "ONNX Runtime" if any(folder.glob("*.onnx")) else "PyTorch"


def _holds_model(folder: Path, generates: bool) -> bool:
    names = ["encoder_model.onnx"] if generates else ["model.onnx", OPENVINO_MODEL]
    return any((folder / name).exists() for name in names) or any(folder.glob("*.safetensors"))


def _engine_runs_here(folder: Path) -> bool:
    from compress.runtimes.tensorrt import runs_here

    sidecar = next(folder.glob("*.engine")).with_suffix(".json")
    return runs_here(json.loads(sidecar.read_text("utf-8")))


def _labels_of(name: str, folder: Path, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a model in the order of its outputs, as its configuration tells; else the data's order."""
    path = folder / "config.json"
    own = json.loads(path.read_text("utf-8")).get("id2label") if path.exists() and labels else None
    if not own or all(str(label).startswith("LABEL_") for label in own.values()):
        return tuple(labels)
    names = tuple(str(own[number]) for number in sorted(own, key=int))
    if set(names) != set(labels):
        raise CompressError(
            f"--variant {name}: its labels ({', '.join(names[:5])} …) are not the data's ({', '.join(labels[:5])} …); "
            f"rename them in {path}"
        )
    return names
