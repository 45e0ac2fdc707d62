"""Bundles in NVIDIA's `tritonserver` with its Python backend, asked over HTTP and gRPC, in an environment of their own.

The package nvidia-pytriton carries the server; nothing of it is used besides. Only the loopback is spoken to.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytriton
import tritonclient.grpc
import tritonclient.http
from kserve_clients import LOOPBACK, free_ports, inputs_of, predictions

RUNS = Path(os.environ["COMPRESS_INTEROP"])
PYTRITON = Path(pytriton.__file__).parent
TASKS = ("text-classification", "token-classification", "question-answering", "translation")
ROWS = 200
AT_ONCE = 16
START_SECONDS = 300


@pytest.fixture(scope="module")
def backends(tmp_path_factory) -> Path:
    """The Python backend with the stub of this Python's version."""
    folder = tmp_path_factory.mktemp("backends")
    shutil.copytree(PYTRITON / "tritonserver/backends/python", folder / "python")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = PYTRITON / "tritonserver/python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy(stub, folder / "python" / stub.name)
    return folder


def copied(task: str, folder: Path) -> Path:
    """A repository of a bundle, beside whose models Triton's Python may write."""
    return shutil.copytree(RUNS / task / "bundle/models/cpu", folder / "models")


@contextmanager
def served(repository: Path, backends: Path, log: Path, *options: str) -> Iterator[dict[str, str]]:
    """A server on free ports of the loopback; its addresses by protocol."""
    http, grpc = free_ports(2)
    environment = {
        **os.environ,
        # The stub brings no interpreter: this one's is to be found before another of the same version.
        "LD_LIBRARY_PATH": f"{PYTRITON.parent / 'nvidia_pytriton.libs'}:{sysconfig.get_config_var('LIBDIR')}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    command = [
        *(str(PYTRITON / "tritonserver/bin/tritonserver"), f"--model-repository={repository}"),
        *(f"--backend-directory={backends}", f"--http-address={LOOPBACK}", f"--grpc-address={LOOPBACK}"),
        *(f"--http-port={http}", f"--grpc-port={grpc}", "--allow-metrics=false", *options),
    ]
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        client = tritonclient.grpc.InferenceServerClient(f"{LOOPBACK}:{grpc}")
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(client):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text(errors="replace")[-10_000:])
            time.sleep(0.2)
        yield {"http": f"{LOOPBACK}:{http}", "grpc": f"{LOOPBACK}:{grpc}"}
    finally:
        server.terminate()
        try:
            server.wait(timeout=45)
        except subprocess.TimeoutExpired:
            server.kill()


def is_ready(client) -> bool:
    try:
        return client.is_server_ready()
    except tritonclient.grpc.InferenceServerException:
        return False


@pytest.mark.parametrize("task", TASKS)
def test_the_same_predictions_in_every_language_over_both_protocols_and_from_many_at_once(task, backends, tmp_path):
    lines = (RUNS / task / "data/test.jsonl").read_text("utf-8").splitlines()[:ROWS]
    rows = [json.loads(line) for line in lines]
    said = json.loads((RUNS / task / "evaluation/student-predictions.json").read_text("utf-8"))[:ROWS]
    wanted = [text if isinstance(text, str) else json.dumps(text) for text in said]
    assert len({row["lang"] for row in rows}) > 1
    with served(copied(task, tmp_path), backends, tmp_path / "log", "--model-config-name=text") as addresses:
        for module in (tritonclient.http, tritonclient.grpc):
            address = addresses[module.__name__.rpartition(".")[2]]

            def ask(row: dict, module=module, address=address) -> str:
                return predictions(module, address, "onnx", inputs_of(task, [row]))[0]

            with ThreadPoolExecutor(AT_ONCE) as pool:
                found = list(pool.map(ask, rows))
            wrong = [
                (row["lang"], one, other) for row, one, other in zip(rows, found, wanted, strict=True) if one != other
            ]
            assert not wrong
        several = predictions(tritonclient.grpc, addresses["grpc"], "onnx", inputs_of(task, rows[:8]))
        assert several == wanted[:8]
        statistics = tritonclient.grpc.InferenceServerClient(addresses["grpc"]).get_inference_statistics("onnx")
        (of_model,) = statistics.model_stats
        assert of_model.inference_count > of_model.execution_count  # requests were joined in batches


def test_bad_input_is_answered_with_the_reason(backends, tmp_path):
    with served(copied("translation", tmp_path), backends, tmp_path / "log", "--model-config-name=text") as addresses:
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="from which language to which"):
            predictions(tritonclient.grpc, addresses["grpc"], "onnx", {"TEXT": ["January"], "LANGUAGES": [""]})
        rows = [{"text": "january, monday", "lang": lang} for lang in ("en-de", "") * AT_ONCE]

        def ask(row: dict) -> bool:
            try:
                return bool(
                    predictions(tritonclient.grpc, addresses["grpc"], "onnx", inputs_of("translation", [row]))[0]
                )
            except tritonclient.grpc.InferenceServerException:
                return False

        with ThreadPoolExecutor(AT_ONCE) as pool:  # what is wrong does not fail what it was joined with
            assert list(pool.map(ask, rows)) == [True, False] * AT_ONCE
