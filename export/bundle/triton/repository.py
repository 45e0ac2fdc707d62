"""How each model of a bundle is served by Triton: what was measured becomes its configuration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from compress.serving.format import BundleModel
from compress.tasks.contract import Example, Task
from compress.tasks.rows import Row
from export.bundle.choice import Report
from export.bundle.triton.configuration import (
    TEXT_CONFIGURATION,
    Serving,
    graph_text_configuration,
    graph_values,
    tensor_configuration,
    text_configuration,
    write_configuration,
    write_string,
    write_tensor_warm_up,
    write_text_warm_up,
)

_NOT_MEASURED_BATCH = 8


def write_serving(
    task: Task,
    labels: Sequence[str],
    model: BundleModel,
    report: Report | None,
    version: Path,
    row: Row,
    example: Example,
) -> None:
    """Write a model's configurations, warm-up data and Python model around its version folder.

    Models that write have three graphs, which the Python backend runs one after the other; so it does with engines for
    which Triton has no backend.

    :param row: What it is warmed up with, and its ``example``.
    """
    if task.GENERATES and model.runtime != "ONNX Runtime":
        return  # nothing here runs three engines in turn
    folder = version.parent
    serving = serving_of(model, model.name, report, version)
    text = text_configuration(serving, task, len(labels), row)
    write_text_warm_up(folder / "warmup", task, row)
    shutil.copy(str(resources.files("export.bundle.contents") / "files" / "model.py"), version / "model.py")
    if task.GENERATES or not serving.has_backend:
        write_configuration(folder / "config.pbtxt", text)
        return
    write_configuration(folder / TEXT_CONFIGURATION, text)
    tensors = tensor_configuration(serving, *graph_values(version, model.runtime))
    write_tensor_warm_up(folder / "warmup", tensors, example)
    write_configuration(folder / "config.pbtxt", tensors)


def write_text_serving(
    labels: Sequence[str], model: BundleModel, source: str, report: Report | None, version: Path, row: Row
) -> None:
    """The same for a graph with its tokenizer inside.

    :param source: The variant that was measured.
    """
    write_string(version.parent / "warmup" / "text", row.text)
    serving = serving_of(model, source, report, version)
    write_configuration(version.parent / "config.pbtxt", graph_text_configuration(serving, len(labels)))


def serving_of(model: BundleModel, measured_as: str, report: Report | None, version: Path) -> Serving:
    """How a model is to be served, by what was measured on its target, or else by the profiles of its engine."""
    profiles = _profiles(version)
    serving = Serving(
        name=model.name,
        runtime=model.runtime,
        on_gpu=model.on_gpu,
        largest_batch=min((profile["maximum"]["batch"] for profile in profiles), default=_NOT_MEASURED_BATCH),
        file=_file_of(version),
        profiles=len(profiles),
    )
    found = report["models"].get(measured_as) if report and model.measured else None
    if report is None or found is None or found["made_for_another_target"]:
        return serving
    times = {int(size): each for size, each in found["latency"].items()}
    fewest = min(times)
    return replace(
        serving,
        largest_batch=max(times),
        rates={size: each["rows_per_second"] for size, each in times.items()},
        row_ms=times[fewest]["p50_ms"] / fewest,
        threads=report["machine"]["threads"],
    )


def _profiles(version: Path) -> list[dict]:
    engine = next(iter(sorted(version.glob("*.engine"))), None)
    return json.loads(engine.with_suffix(".json").read_text("utf-8"))["profiles"] if engine else []


def _file_of(version: Path) -> str:
    """The graph that Triton's backend is to load."""
    return next((path.name for kind in ("*.engine", "openvino_model.xml") for path in version.glob(kind)), "model.onnx")
