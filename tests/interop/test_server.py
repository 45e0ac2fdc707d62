"""Bundles behind `compress serve`, without PyTorch, asked by NVIDIA's client of KServe's protocol and by OpenAI's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openai
import pytest
import tritonclient.http
import tritonclient.utils
from kserve_clients import LOOPBACK, asked, free_ports, inputs_of, predictions

RUNS = Path(os.environ["COMPRESS_INTEROP"])
TASKS = ("text-classification", "token-classification", "question-answering", "translation")
ROWS = 200
AT_ONCE = 16
START_SECONDS = 300


@contextmanager
def served(bundle: Path, log: Path) -> Iterator[str]:
    """The address of a bundle's server, which ends as it should."""
    (port,) = free_ports(1)
    with log.open("w") as output:
        command = [sys.executable, "-m", "compress", "serve", str(bundle), "--port", str(port), "--variant", "onnx"]
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        client = tritonclient.http.InferenceServerClient(f"{LOOPBACK}:{port}")
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(client):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(log.read_text(errors="replace")[-10_000:])
            time.sleep(0.2)
        yield f"{LOOPBACK}:{port}"
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=45) == 0
    finally:
        server.kill()


def is_ready(client) -> bool:
    try:
        return client.is_server_ready() and client.is_model_ready("onnx")
    except OSError:
        return False


def test_nothing_of_this_needs_pytorch():
    with pytest.raises(ImportError):
        import torch  # noqa: F401


@pytest.mark.parametrize("task", TASKS)
def test_the_same_predictions_in_every_language_and_from_many_at_once(task, tmp_path):
    lines = (RUNS / task / "data/test.jsonl").read_text("utf-8").splitlines()[:ROWS]
    rows = [json.loads(line) for line in lines]
    said = json.loads((RUNS / task / "evaluation/student-predictions.json").read_text("utf-8"))[:ROWS]
    wanted = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in said]
    with served(RUNS / task / "bundle", tmp_path / "log") as address:

        def ask(row: dict) -> str:
            return predictions(tritonclient.http, address, "onnx", inputs_of(task, [row]))[0]

        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(ask, rows))
        assert found == wanted
        assert predictions(tritonclient.http, address, "onnx", inputs_of(task, rows)) == wanted
        client = tritonclient.http.InferenceServerClient(address)
        told = client.get_model_metadata("onnx")
        assert [one["name"] for one in told["inputs"]] == list(inputs_of(task, rows))


def test_bad_input_is_answered_with_the_reason(tmp_path):
    with served(RUNS / "translation/bundle", tmp_path / "log") as address:
        for languages, reason in (("", "from which language to which"), ("en-xx", "ask for one of these")):
            inputs = {"TEXT": ["January"], "LANGUAGES": [languages]}
            with pytest.raises(tritonclient.utils.InferenceServerException, match=reason):
                predictions(tritonclient.http, address, "onnx", inputs)


def test_openai_s_client_gets_the_vectors_of_compress_load(tmp_path):
    told = json.loads((RUNS / "embedding.json").read_text("utf-8"))
    with served(RUNS / "embedding/bundle", tmp_path / "log") as address:
        client = openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0)
        for kind, wanted in told["vectors"]["onnx"].items():
            for form in ("float", openai.NOT_GIVEN):  # what it takes for granted is base64
                found = client.embeddings.create(
                    model="onnx", input=told["texts"], encoding_format=form, extra_body={"input_type": kind}
                )
                assert np.allclose([one.embedding for one in found.data], wanted, atol=1e-5)
            assert found.usage.prompt_tokens > len(told["texts"])
            inputs = {"TEXT": told["texts"], "KIND": [kind] * len(told["texts"])}
            assert np.allclose(asked(tritonclient.http, address, "onnx", inputs, "EMBEDDING"), wanted, atol=1e-5)
        with pytest.raises(openai.BadRequestError, match="dimensions 5: onnx gives 24"):
            client.embeddings.create(model="onnx", input="a", dimensions=5)
        with pytest.raises(openai.NotFoundError, match="there is onnx alone"):
            client.embeddings.create(model="another", input="a")


def test_scores_are_those_of_compress_load(tmp_path):
    told = json.loads((RUNS / "reranking.json").read_text("utf-8"))
    passages = told["passages"]
    with served(RUNS / "reranking/bundle", tmp_path / "log") as address:
        inputs = {"TEXT": [told["query"]] * len(passages), "TEXT_PAIR": passages}
        found = predictions(tritonclient.http, address, "onnx", inputs)
    assert np.allclose([float(score) for score in found], told["scores"]["onnx"], atol=1e-5)
