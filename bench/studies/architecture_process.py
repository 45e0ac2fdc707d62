"""One architecture the whole road, in a process of its own: `bench.studies.architectures` asks it.

It is taken as a teacher, with a student that has every second of its layers, and as it is; what is made of each goes
through the commands' own code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field, JsonValue

from bench.studies.architecture_models import ARCHITECTURES, Architecture, build, rows
from compress.cli.commands import distill, export, new_run, taken_run
from compress.console import quiet_libraries, quiet_transformers
from compress.contract import Contract
from compress.errors import CompressError
from compress.runs.directory import Run, find_run
from compress.subprocesses import answers_alone

Fields = dict[str, JsonValue]
FORMS: dict[str, Fields] = {
    "ONNX": {"export.variants": []},
    "fused": {"export.variants": ["onnx-fused"]},
    "int8": {"export.variants": ["onnx-int8"]},
    "engine": {"export.variants": [], "export.tensorrt.enabled": True},
}
"""What is made of a model, by the name that the table has, and how it is asked for."""

_TOGETHER: Fields = {"export.variants": ["onnx-fused", "onnx-int8"], "export.tensorrt.enabled": True}
# New weights tell rows hardly apart: what is rounded may decide otherwise.
_SETTINGS: Fields = {
    "data.max_length": 32,
    "export.parity.rows": 20,
    "export.parity.int8": {"max_difference": 5.0, "agreement": 0.7},
    "export.parity.fp16": {"max_difference": 0.1, "agreement": 0.9},
    "export.tensorrt.sm": [80],
    "evaluation.baseline": False,
    "generation.beams": 1,
}
_TRAINING: Fields = {"epochs": 1, "batch_size": 32, "learning_rate": 0.001, "mask_probability": 0}


class Road(Contract):
    """What came of one way to take a model."""

    taken: str | None = Field(description="null, or the line that refused it")
    forms: dict[str, str | None] = Field(description="the same for each form that was asked for")


class Outcome(Contract):
    """What came of an architecture."""

    files: list[str] = Field(description="of its tokenizer, but its settings")
    distilled: Road = Field(description="as a teacher, of a student with every second layer")
    as_is: Road


def try_architecture(architecture: Architecture, folder: Path) -> Outcome:
    """Take an architecture both ways.

    :param folder: An empty one.
    """
    model, data = folder / "model", folder / "data"
    files = build(architecture, model)
    data.mkdir()
    for split, content in rows(architecture.task).items():
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
    settings = {"task": architecture.task, **_SETTINGS, **architecture.recipe}
    return Outcome(
        files=files,
        distilled=_road(model, lambda: _distilled(model, data, settings, folder)),
        as_is=_road(model, lambda: taken_run(model, str(data), settings, folder / "as-is", in_json=True)),
    )


def _distilled(model: Path, data: Path, settings: Fields, folder: Path) -> Run:
    recipe: Fields = {
        **settings,
        "name": "distilled",
        "data.source": str(data),
        "teacher.model": str(model),
        "teacher.training": _TRAINING,
        "student.every_nth_layer": 2,
        "student.training": _TRAINING,
    }
    run = new_run(None, recipe, None, folder / "distilled")
    distill(run, in_json=True)
    return run


def _road(model: Path, take: Callable[[], Run]) -> Road:
    """All forms at once; where one is refused, each on its own, so that it does not hide the others."""
    try:
        run = take()
    except CompressError as error:
        return Road(taken=str(error).replace(str(model), "MODEL"), forms={})
    if _refusal(run, _TOGETHER) is None:
        return Road(taken=None, forms=dict.fromkeys(FORMS))
    return Road(taken=None, forms={form: _refusal(run, wanted) for form, wanted in FORMS.items()})


def _refusal(run: Run, wanted: Fields) -> str | None:
    try:
        export(find_run(run.folder, run.folder.parent, wanted), in_json=True)
    except CompressError as error:
        return str(error)
    return None


def main() -> None:
    """Try the architecture that standard input describes by its name, and answer with what came of it."""
    name, answers = sys.stdin.read(), answers_alone()
    quiet_libraries()
    quiet_transformers()
    with TemporaryDirectory() as folder:
        outcome = try_architecture(ARCHITECTURES[name], Path(folder))
    print(outcome.model_dump_json(), file=answers)


if __name__ == "__main__":
    main()
