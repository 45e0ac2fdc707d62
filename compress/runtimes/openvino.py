"""OpenVINO: a folder in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import UnavailableError
from compress.runtimes.contract import Predict
from compress.tasks.contract import Task
from compress.threads import pool_size

OPENVINO_MODEL = "openvino_model.xml"  # the name that Optimum looks for
OPENVINO_WEIGHTS = "openvino_model.bin"
# What it keeps of each shape that it has seen; by default 5,000, which lengths of 1 to 512 fill with a gigabyte.
_KEPT_PRIMITIVES = 256


def load_openvino(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Open an encoder's graph in OpenVINO, on the CPU, in the precision of its file."""
    settings: dict[str, str | int] = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    # OpenVINO takes bf16 by itself where the processor has it, and so gives other answers than elsewhere.
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    settings["CPU_RUNTIME_CACHE_CAPACITY"] = _KEPT_PRIMITIVES
    if size := pool_size(threads):
        settings["INFERENCE_NUM_THREADS"] = size
    compiled = openvino_core().compile_model(folder / OPENVINO_MODEL, "CPU", settings)
    request, names = compiled.create_infer_request(), {value.any_name for value in compiled.inputs}

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        found = request.infer({name: array for name, array in inputs.items() if name in names})
        outputs = [found[name].copy() for name in task.OUTPUTS]
        return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

    return predict


def openvino_core() -> Any:
    """OpenVINO's entry point.

    :raises UnavailableError: If it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise UnavailableError("OpenVINO is not installed; install the extra `openvino`") from error
    return openvino.Core()
