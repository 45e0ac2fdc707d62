"""How each model of a bundle is served by Triton: what was measured becomes its configuration."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from compress.reports.bench import Report
from compress.serving.format import BundleModel
from compress.tasks.contract import Example, Task
from compress.tasks.rows import Row
from compress.variants.engine import read_sidecar
from compress.variants.files import engines_in
from export.bundle.triton.configuration import (
    TEXT_CONFIGURATION,
    Serving,
    graph_text_configuration,
    tensor_configuration,
    text_configuration,
    write_configuration,
    write_string,
    write_tensor_warm_up,
    write_text_warm_up,
)
from export.bundle.triton.graphs import graph_values

_NOT_MEASURED_BATCH = 8


@dataclass(frozen=True)
class WarmUpRow:
    """A real row that models are warmed up with, and what they read of it."""

    row: Row
    example: Example


def write_serving(
    task: Task, classes: int, model: BundleModel, report: Report | None, version: Path, warm_up: WarmUpRow
) -> None:
    """Write a model's configurations, warm-up data and Python model around its version folder.

    Tasks with several graphs have the Python backend run one after the other; so it does with what no backend of Triton
    runs as it was measured.

    :param classes: Number of labels.
    :param report: Of the run's bench stage, if it has been run.
    """
    several = len(task.GRAPHS) > 1
    if several and engines_in(version):
        return  # nothing here runs three engines in turn
    folder = version.parent
    serving = serving_of(model, model.name, report, version)
    if task.VECTORS:
        classes = graph_values(version, model.runtime)[1][0].shape[-1]
    text = text_configuration(serving, task, classes, warm_up.row)
    write_text_warm_up(folder / "warmup", task, warm_up.row)
    shutil.copy(str(resources.files("export.bundle.contents") / "files" / "model.py"), version / "model.py")
    if several or not serving.has_backend:
        write_configuration(folder / "config.pbtxt", text)
        return
    write_configuration(folder / TEXT_CONFIGURATION, text)
    inputs, outputs = graph_values(version, model.runtime)
    write_tensor_warm_up(folder / "warmup", inputs, warm_up.example)
    length = len(warm_up.example["input_ids"])
    write_configuration(folder / "config.pbtxt", tensor_configuration(serving, inputs, outputs, length))


def write_text_serving(
    classes: int, model: BundleModel, source: str, report: Report | None, version: Path, row: Row
) -> None:
    """The same for a graph with its tokenizer inside.

    :param source: The variant that was measured.
    """
    write_string(version.parent / "warmup" / "text", row.text)
    serving = serving_of(model, source, report, version)
    write_configuration(version.parent / "config.pbtxt", graph_text_configuration(serving, classes))


def serving_of(model: BundleModel, measured_as: str, report: Report | None, version: Path) -> Serving:
    """How a model is to be served, by what was measured on its target, or else by the profiles of its engine.

    :param measured_as: The variant's name in the report.
    :raises CompressError: If an engine's description is missing or not as it must be.
    """
    engine = next(iter(engines_in(version)), None)
    sidecar = read_sidecar(engine) if engine else None
    serving = Serving(
        name=model.name,
        runtime=model.runtime,
        on_gpu=model.on_gpu,
        largest_batch=sidecar.largest_batch if sidecar else _NOT_MEASURED_BATCH,
        file=engine.name if engine else "model.onnx",
        profiles=len(sidecar.profiles) if sidecar else 0,
    )
    found = report.models.get(measured_as) if report and model.measured else None
    if report is None or found is None or found.made_for_another_target:
        return serving
    times = {int(size): each for size, each in found.latency.items()}
    fewest = min(times)
    return replace(
        serving,
        largest_batch=max(times),
        rates={size: each.rows_per_second for size, each in times.items()},
        row_ms=times[fewest].p50_ms / fewest,
        threads=report.machine.threads,
    )
