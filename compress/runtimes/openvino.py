"""OpenVINO: a folder in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import UnavailableError
from compress.runtimes.contract import Predict
from compress.targets import without_bf16
from compress.tasks.contract import Task
from compress.threads import pool_size

OPENVINO_MODEL = "openvino_model.xml"  # the name that Optimum looks for
OPENVINO_WEIGHTS = "openvino_model.bin"
_PRECISION = ("compress", "inference_precision")  # in what a file says to runtimes
# What it keeps of each shape that it has seen; by default 5,000, which lengths of 1 to 512 fill with a gigabyte.
_KEPT_PRIMITIVES = 256


def load_openvino(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Open an encoder's graph in OpenVINO, on the CPU, in the precision that its file says.

    :raises UnavailableError: If OpenVINO is not installed, or the file says bf16 and the processor has none.
    """
    core = openvino_core()
    model = core.read_model(folder / OPENVINO_MODEL)
    settings: dict[str, str | int] = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    # OpenVINO takes bf16 by itself where the processor has it, and so gives other answers than elsewhere.
    settings["INFERENCE_PRECISION_HINT"] = _precision_of(model, folder)
    settings["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT_PRIMITIVES
    if size := pool_size(threads):
        settings["INFERENCE_NUM_THREADS"] = size
    compiled = core.compile_model(model, "CPU", settings)
    del model
    request, names = compiled.create_infer_request(), {value.any_name for value in compiled.inputs}

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        found = request.infer({name: array for name, array in inputs.items() if name in names})
        outputs = [found[name].copy() for name in task.OUTPUTS]
        return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

    return predict


def mark_bf16(model: Any) -> None:
    """Let a model's file say that it calculates in bf16."""
    model.set_rt_info("bf16", list(_PRECISION))


def _precision_of(model: Any, folder: Path) -> str:
    if not model.has_rt_info(list(_PRECISION)):
        return "f32"
    if reason := without_bf16():
        raise UnavailableError(f"{folder}: {reason}; run another variant here")
    return "bf16"


def openvino_core() -> Any:
    """OpenVINO's entry point.

    :raises UnavailableError: If it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError("OpenVINO is not installed; install the extra `openvino`") from error
    return openvino.Core()
