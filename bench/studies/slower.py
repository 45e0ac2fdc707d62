"""A measuring process whose model is slower where its folder says so: ``python -P -m bench.studies.slower``.

The slower model is the same model in a process that waits, busily, for a share of the time of each run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bench.measure.worker import main
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict
from compress.subprocesses import module_command
from compress.tasks.contract import Task

SLOWER = module_command("bench.studies.slower")
"""What runs such a process."""
_PLANTED = ".slower.json"  # hidden: no file of the stage, which is as it was made


def plant(model: Path, ratio: float) -> None:
    """Let a model be slower.

    :param ratio: Of its times.
    """
    (model / _PLANTED).write_text(json.dumps(ratio), "utf-8")


def unplant(model: Path) -> None:
    """Let a model be as fast as it is."""
    (model / _PLANTED).unlink()


def load_slower(path: Path, task: Task, search: Search, threads: int, trust_remote_code: bool = False) -> Predict:
    """As `compress.runtimes.predict.load_predict`, slower by what was planted."""
    predict, planted = load_predict(path, task, search, threads, trust_remote_code), path / _PLANTED
    if not planted.exists():
        return predict
    more = json.loads(planted.read_text("utf-8")) - 1

    def slower(inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        started = time.perf_counter()
        outputs = predict(inputs)
        ends = time.perf_counter() + more * (time.perf_counter() - started)
        while time.perf_counter() < ends:
            pass
        return outputs

    return slower


if __name__ == "__main__":
    main(load_slower)
