"""Measures one model in a process of its own: `python -m bench.worker`, requests on standard input, answers on standard
output, one JSON object a line. Nothing is loaded but the model's own runtime, so that memory figures are the model's.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import quiet_libraries
from compress.data.encode import pad
from compress.generation import Search
from compress.inference import Predict, load_predict, predict_examples
from compress.tasks import Example, Task, task_named

WARM_UP_BATCHES = 10


def main() -> None:
    """Load the model once, then answer until the input ends."""
    quiet_libraries()
    answers = os.fdopen(os.dup(1), "w")  # libraries may print: they get standard error instead
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline())
    examples: list[Example] = json.loads(Path(setup["examples"]).read_text("utf-8"))
    task = task_named(setup["task"])
    before = peak_memory()
    started = time.perf_counter()
    predict = load_predict(Path(setup["model"]), task, Search(**setup["search"]), setup["threads"])
    predict(pad(examples[:1], setup["pad_id"]))
    print(json.dumps({"start_up_seconds": time.perf_counter() - started}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_answer(request, predict, task, examples, setup, before)), file=answers, flush=True)


def measure_latency(predict: Predict, batches: list[dict[str, np.ndarray]]) -> tuple[list[float], list[np.ndarray]]:
    """Milliseconds of each batch, after a warm-up, with garbage collection off, and what came out."""
    for batch in batches[:WARM_UP_BATCHES]:
        predict(batch)
    gc.collect()
    gc.disable()
    try:
        samples, outputs = [], []
        for batch in batches:
            started = time.perf_counter_ns()
            outputs.append(predict(batch))
            samples.append((time.perf_counter_ns() - started) / 1e6)
        return samples, outputs
    finally:
        gc.enable()


def peak_memory() -> int:
    """Largest resident memory of this program so far, in bytes.

    Linux counts the parent's memory at the fork into ``ru_maxrss``, so the process's own mark is read if there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _answer(
    request: dict[str, Any],
    predict: Any,
    task: Task,
    examples: list[Example],
    setup: dict[str, Any],
    before: int,
) -> dict[str, Any]:
    if request["measure"] == "latency":
        batches = [pad([examples[index] for index in batch], setup["pad_id"]) for batch in request["batches"]]
        milliseconds, outputs = measure_latency(predict, batches)
        if not task.GENERATES:
            return {"milliseconds": milliseconds}
        first, _ = measure_latency(partial(predict, max_tokens=1), batches)
        tokens = sum(int((output != setup["pad_id"]).sum()) for output in outputs)
        return {"milliseconds": milliseconds, "first_token_milliseconds": first, "tokens": tokens}
    if request["measure"] == "memory":
        return {"peak_bytes": peak_memory(), "before_model_bytes": before}
    np.savez(request["file"], *predict_examples(predict, task, examples, setup["pad_id"]))
    return {}


if __name__ == "__main__":
    main()
