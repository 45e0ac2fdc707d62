"""What `compress serve` holds under load: ``python -m bench.studies.load_over_http BUNDLE``.

The bundle's canary rows are asked about, one a request, which arrive as a Poisson process whether or not earlier ones
have been answered; latency counts from the arrival. The server has one thread and a processor of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.measure.load import LoadSettings, measure_load
from bench.measure.protocol import ServeAnswer, ServeRequest
from compress.machine import cpu_features
from compress.reports.bench import LoadCurve
from compress.serving.format import CanaryRow, read_bundle_manifest, read_canary
from compress.subprocesses import module_command, module_environment
from compress.tasks.registry import TaskName, task_named
from compress.tasks.rows import Row

_CLIENTS, _SECONDS, _BOUND, _ALONE = 64, 5.0, 5, 200
_URL = re.compile(r"serve: (\S+) answers on http://127\.0\.0\.1:(\d+);")
LARGEST: Sequence[int] = (1, 32)
"""Texts of a batch at most."""


class ServedOverHttp:
    """A server in place of a measuring process, and its setup: row number n is request number n.

    :param bodies: Requests of KServe's protocol.
    """

    def __init__(self, port: int, model: str, bodies: Sequence[bytes]):
        self._port, self._path, self._bodies = port, f"/v2/models/{model}/infer", bodies
        self._own = threading.local()

    @property
    def setup(self) -> ServedOverHttp:
        """Itself."""
        return self

    def examples_of(self, rows: Sequence[int]) -> list[int]:
        """Numbers of the requests about some rows."""
        return list(rows)

    def tokens_of(self, row: int) -> int:
        """Nothing that the clients know: the server joins by length."""
        return 0

    def post(self, number: int) -> None:
        """Ask, on a connection that this thread keeps.

        :raises ValueError: If the server refuses.
        """
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self._port)
        self._own.connection.request("POST", self._path, self._bodies[number])
        answer = self._own.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{answer.status}: {content.decode()}")

    def ask(self, request: ServeRequest) -> ServeAnswer:
        """Send requests as they arrive; it ends early when more answers are late than the bound allows."""
        before, begin = self._runs(), time.perf_counter()
        latencies: list[float] = []
        late: list[float] = []

        def answer(number: int) -> None:
            self.post(request.examples[number][0])
            latency = 1000 * (time.perf_counter() - begin - request.arrivals[number])
            (late if latency > request.bound_ms else latencies).append(latency)

        with ThreadPoolExecutor(_CLIENTS) as pool:
            sent = []
            for number, arrival in enumerate(request.arrivals):
                time.sleep(max(0.0, begin + arrival - time.perf_counter()))
                if len(late) > request.allowed:
                    break
                sent.append(pool.submit(answer, number))
        for one in sent:
            one.result()
        runs, seconds = (after - old for after, old in zip(self._runs(), before, strict=True))
        size, larger = divmod(len(sent), int(runs))
        batches = [size + 1] * larger + [size] * (int(runs) - larger)  # as large as they were in the mean
        return ServeAnswer([*latencies, *late], batches, 1000 * seconds, 0.0)

    def _runs(self) -> tuple[float, float]:
        """How many batches have run, and for how many seconds."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("GET", "/metrics")
        page = connection.getresponse().read().decode()
        found = {name: float(value) for name, value in re.findall(r"^compress_run_seconds_(\w+) (\S+)$", page, re.M)}
        return found["count"], found["sum"]


def bodies_of(rows: Sequence[CanaryRow], task: TaskName) -> list[bytes]:
    """A request about each row."""
    asked = (task_named(task).question(Row(**dict(row))) for row in rows)
    told = [
        [{"name": name, "shape": [1], "datatype": "BYTES", "data": [text]} for name, text in question.items()]
        for question in asked
    ]
    return [json.dumps({"inputs": inputs}).encode() for inputs in told]


@contextmanager
def server_of(bundle: Path, largest: int) -> Iterator[tuple[str, int]]:
    """The name of the model that a bundle's server answers with, and its port.

    :raises ValueError: If it does not begin.
    """
    options = ("--port", "0", "--threads", "1", "--max-batch", str(largest))
    command = module_command("compress", "serve", str(bundle), *options)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=module_environment())  # noqa: S603
    try:
        said = ""
        while (found := _URL.search(said)) is None:
            if not (line := process.stderr.readline() if process.stderr else ""):
                raise ValueError(said)
            said += line
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, processors[:1])
        os.sched_setaffinity(0, processors[1:] or processors)
        yield found[1], int(found[2])
        os.sched_setaffinity(0, processors)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def curve_of(served: ServedOverHttp, requests: int) -> tuple[float, LoadCurve]:
    """Milliseconds of a request alone, the median, and what the server holds with five times that as the bound."""
    alone = []
    for number in range(_ALONE):
        began = time.perf_counter()
        served.post(number % requests)
        alone.append(1000 * (time.perf_counter() - began))
    median = sorted(alone)[_ALONE // 2]
    settings = LoadSettings(range(requests), _BOUND * median, 1, _SECONDS, 0, ())
    return median, measure_load(served, 1000 / median, settings)


def main() -> None:
    """Print a line for each size of batch."""
    bundle = Path(sys.argv[1])
    rows = read_canary(bundle).rows
    print(f"{cpu_features().cpu_name}, one thread; {len(rows)} rows of {bundle}\n")
    print("| texts of a batch | a request alone, ms | bound ms | requests/s | p50 ms | p99 ms | mean batch |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for largest in LARGEST:
        with server_of(bundle, largest) as (model, port):
            bodies = bodies_of(rows, read_bundle_manifest(bundle).task)
            median, curve = curve_of(ServedOverHttp(port, model, bodies), len(rows))
        point = next((found for found in reversed(curve.rates) if found.holds), None)
        cells = (
            f"{point.rate:.0f} | {point.p50_ms:.1f} | {point.p99_ms:.1f} | {point.mean_batch:.1f}"
            if point
            else "none | | |"
        )
        print(f"| up to {largest} | {median:.1f} | {curve.bound_ms:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
