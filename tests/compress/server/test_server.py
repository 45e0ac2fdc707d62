"""`compress serve` as its clients see it: a process that answers as `compress.load` does, and refuses in one line."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import served
import small_sentence_models

from compress import load

TEXTS = [row["text"] for row in small_sentence_models.texts(40)]
INFER, EMBED = "/v2/models/onnx/infer", "/v1/embeddings"


def question(texts: list[Any], **more: Any) -> dict[str, Any]:
    """A request of KServe's protocol."""
    return {"inputs": [{"name": "TEXT", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts, **more}]}


def outputs(answer: served.HttpAnswer) -> dict[str, Any]:
    assert answer.status == 200, answer.content
    return {output["name"]: output for output in answer.json["outputs"]}


def test_labels_and_probabilities_are_those_of_compress_load(labels, classifier: Path):
    found = outputs(labels.ask(INFER, {**question(TEXTS), "id": "7"}))
    wanted = load(classifier).predict(TEXTS)
    assert found["PREDICTION"]["data"] == [answer.prediction for answer in wanted]
    assert found["PREDICTION"]["shape"] == [40, 1]
    assert found["PROBABILITIES"]["shape"] == [40, 3]
    assert np.reshape(found["PROBABILITIES"]["data"], (40, 3)) == pytest.approx(
        np.array([list(answer.probabilities.values()) for answer in wanted]), abs=1e-5
    )


def test_many_clients_at_once_get_each_their_own_answers(labels, classifier: Path):
    wanted = [answer.prediction for answer in load(classifier).predict(TEXTS)]
    before = labels.metric("compress_batch_texts_count")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: outputs(labels.ask(INFER, question([text]))), TEXTS * 3))
    assert [found["PREDICTION"]["data"][0] for found in answers] == wanted * 3
    assert labels.metric("compress_batch_texts_count") - before <= 120


def test_vectors_are_those_of_compress_load_in_both_encodings_and_protocols(vectors, embedder: Path):
    wanted = load(embedder).encode(TEXTS)
    request = {"model": "onnx", "input": TEXTS}
    told = vectors.ask(EMBED, request).json
    assert [one["index"] for one in told["data"]] == list(range(40))
    assert np.array([one["embedding"] for one in told["data"]]) == pytest.approx(wanted, abs=1e-5)
    assert told["usage"]["total_tokens"] == sum(len(text.split()) + 2 for text in TEXTS)
    told = vectors.ask(EMBED, {**request, "encoding_format": "base64"}).json
    found = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in told["data"]]
    assert np.array(found) == pytest.approx(wanted, abs=1e-5)
    (embedding,) = outputs(vectors.ask(INFER, question(TEXTS))).values()
    assert np.reshape(embedding["data"], embedding["shape"]) == pytest.approx(wanted, abs=1e-5)


def test_a_text_is_asked_as_what_it_is(vectors, embedder: Path):
    model, kinds = load(embedder), ["query", "passage"]
    wanted = [model.encode(TEXTS[:1], kind)[0] for kind in kinds]
    assert wanted[0] != pytest.approx(wanted[1], abs=1e-3)
    for kind, vector in zip(kinds, wanted, strict=True):
        told = vectors.ask(EMBED, {"model": "onnx", "input": TEXTS[0], "input_type": kind}).json
        assert np.array(told["data"][0]["embedding"]) == pytest.approx(vector, abs=1e-5)
    request = question(TEXTS[:1] * 2)
    request["inputs"].append({"name": "KIND", "shape": [2], "datatype": "BYTES", "data": kinds})
    found = outputs(vectors.ask(INFER, request))["EMBEDDING"]
    assert np.reshape(found["data"], (2, -1)) == pytest.approx(np.array(wanted), abs=1e-5)


def test_tensors_go_in_binary_where_a_client_wants_it(labels, classifier: Path):
    texts = ["w1 w2", "wörter", ""]
    packed = b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)
    (told,) = question(texts)["inputs"]
    del told["data"]
    head = json.dumps(
        {
            "inputs": [{**told, "parameters": {"binary_data_size": len(packed)}}],
            "outputs": [{"name": "PROBABILITIES", "parameters": {"binary_data": True}}],
        }
    ).encode()
    answer = labels.ask(INFER, head + packed, {"Inference-Header-Content-Length": str(len(head))})
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer.content) - length == 3 * 3 * 4
    found = np.frombuffer(answer.content[length:], "<f4").reshape(output["shape"])
    wanted = [list(one.probabilities.values()) for one in load(classifier).predict(texts)]
    assert found == pytest.approx(np.array(wanted), abs=1e-5)


def test_it_says_what_it_is_and_how_it_does(labels, vectors):
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/onnx/ready"):
        assert labels.ask(path).status == 200
    assert labels.ask("/v2").json["extensions"] == ["binary_tensor_data"]
    assert labels.ask("/v2/models/onnx").json == {
        "name": "onnx",
        "platform": "ONNX Runtime",
        "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [-1, 1]}],
        "outputs": [
            {"name": "PREDICTION", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "PROBABILITIES", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert [one["name"] for one in vectors.ask("/v2/models/onnx").json["inputs"]] == ["TEXT", "KIND"]
    labels.ask(INFER, question(["w1 w2"]))
    assert labels.metric("compress_requests_total") > 0
    assert labels.metric("compress_tokens_total") >= 4
    assert labels.metric("compress_waiting_texts") == 0
    assert labels.metric("process_resident_memory_bytes") > 0


BAD_QUESTIONS: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"\xff", 400, "the request is not JSON ('utf-8' codec can't decode byte 0xff"),
    "half": (b'{"inputs": [', 400, "the request is not JSON (Expecting value: line 1 column 13"),
    "nested": (b"[" * 9000, 400, "the request is not JSON (maximum recursion depth exceeded"),
    "a list": ([], 400, "Input should be"),
    "nothing": ({}, 400, "inputs: Field required"),
    "another name": (question(["a"], name="text"), 400, "inputs: 'text' is no input of the model; onnx reads TEXT"),
    "markup": (question(["a"], name="\x1b[31m"), 400, r"inputs: '\x1b[31m' is no input"),
    "none": ({"inputs": []}, 400, "inputs: TEXT is missing; onnx reads TEXT"),
    "twice": ({"inputs": question(["a"])["inputs"] * 2}, 400, "inputs: 'TEXT' comes twice"),
    "numbers": (question(["a"], datatype="FP32"), 400, "inputs.TEXT.datatype: 'FP32'; wanted is BYTES"),
    "shape": (question(["a"], shape=[2, 1]), 400, "inputs.TEXT.shape: [2, 1] with 1 elements; wanted is [texts, 1]"),
    "flat shape": (question(["a"], shape=[1, 1, 1]), 400, "inputs.TEXT.shape: [1, 1, 1] with 1 elements"),
    "words as shape": (question(["a"], shape=["1"]), 400, "inputs.0.shape.0: Input should be a valid integer"),
    "no text": (question(["a", 5]), 400, "inputs.TEXT: text 1 must be text, got 5"),
    "no texts": (question([]), 400, "inputs.TEXT: there are no texts; give at least one"),
    "half a pair": (question(["\ud800"]), 400, r"text 0: field 'text' has \ud800 at character 1"),
    "too long": (question(["a" * 201]), 400, "text 0 has 201 characters, 200 are allowed; shorten it"),
    "too many": (question(["a"] * 51), 400, "inputs.TEXT: 51 texts, 50 may be in a request; send several"),
    "too large": (b" " * 30_000, 413, "the request is larger than 20,000 bytes; send fewer or shorter texts"),
    "unknown field": ({**question(["a"]), "input": 1}, 400, "input: Extra inputs are not permitted"),
    "unknown output": ({**question(["a"]), "outputs": [{"name": "LOGITS"}]}, 400, "onnx gives PREDICTION, PROBABIL"),
    "classes": (
        {**question(["a"]), "outputs": [{"name": "PREDICTION", "parameters": {"classification": 2}}]},
        400,
        "outputs.PREDICTION.parameters: 'classification': there is binary_data alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_QUESTIONS)
def test_a_bad_question_is_told_what_is_wrong_and_harms_nobody(labels, name: str):
    sent, status, told = BAD_QUESTIONS[name]
    answer = labels.ask(INFER, sent)
    assert (answer.status, told in answer.json["error"]) == (status, True), answer.json["error"]
    assert "\n" not in answer.json["error"]
    assert outputs(labels.ask(INFER, question(["w1"])))


def test_a_request_without_end_is_not_read_to_its_end(labels):
    with socket.create_connection(("127.0.0.1", labels.port)) as connection:
        connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            connection.sendall(part * 10_000)
    assert outputs(labels.ask(INFER, question(["w1"])))


@pytest.mark.parametrize(
    ("sent", "status", "parameter", "told"),
    [
        ({"model": "gpt", "input": "a"}, 404, "model", "model 'gpt': there is onnx alone"),
        ({"model": "onnx"}, 400, "input", "input: Field required"),
        ({"model": "onnx", "input": []}, 400, "input", "input: there are no texts"),
        ({"model": "onnx", "input": [[1, 2]]}, 400, "input", "input: text 0 must be text, got [1, 2]"),
        ({"model": "onnx", "input": "a", "input_type": "title"}, 400, None, "kind 'title': there is no such prompt"),
        ({"model": "onnx", "input": "a", "dimensions": 16}, 400, "dimensions", "dimensions 16: onnx gives 32"),
        ({"model": "onnx", "input": "a", "prompt": "query"}, 400, "prompt", "prompt: Extra inputs are not permitted"),
        ({"model": "onnx", "input": "a", "encoding_format": "hex"}, 400, "encoding_format", "'float' or 'base64'"),
    ],
)
def test_openai_s_clients_are_told_in_their_form(vectors, sent: Any, status: int, parameter: str | None, told: str):
    answer = vectors.ask(EMBED, sent)
    error = answer.json["error"]
    assert (answer.status, error["param"], error["type"]) == (status, parameter, "invalid_request_error")
    assert told in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/v2/models/other", 404, "model 'other': there is onnx alone"),
        ("GET", "/v2/models/other/ready", 404, "model 'other': there is onnx alone"),
        ("POST", "/v2/models/other/infer", 404, "model 'other': there is onnx alone"),
        ("GET", "/v3", 404, "there is no such route; see /v2"),
        ("GET", INFER, 405, "GET: this route has another method"),
    ],
)
def test_what_is_not_there_is_told(labels, method: str, path: str, status: int, told: str):
    answer = labels.ask(path, method=method)
    assert (answer.status, answer.json["error"]) == (status, told)


def test_vectors_of_a_model_that_gives_none_are_refused(labels):
    answer = labels.ask(EMBED, {"model": "onnx", "input": "a"})
    assert answer.status == 404
    assert answer.json["error"]["message"] == (
        "onnx is for text-classification and gives no vectors; ask /v2/models/onnx/infer"
    )


def test_a_server_that_is_told_to_end_answers_what_it_has_begun(classifier: Path, tmp_path: Path):
    with served.served(tmp_path, classifier, "--max-batch", "1", "--json") as server:
        slow = question(TEXTS * 20)
        answers: list[served.HttpAnswer] = []
        client = threading.Thread(target=lambda: answers.append(server.ask(INFER, slow)))
        client.start()
        while server.metric("compress_waiting_texts") == 0 and not answers:
            pass
        done = server.stop()
        client.join()
    assert len(outputs(answers[0])["PREDICTION"]["data"]) == 800
    assert done.returncode == 0, done.stderr
    assert "serve: all that had begun is answered" in done.stderr
    told = json.loads(done.stdout)
    assert told["model"] == "onnx"
    assert told["requests"]["200"] >= 1
    with pytest.raises(ConnectionRefusedError):
        server.ask("/v2")


def test_an_altered_bundle_is_refused_before_anything_of_it_is_opened(
    classifier: Path, tmp_path: Path, compress_command
):
    altered = Path(shutil.copytree(classifier, tmp_path / "bundle"))
    graph = altered / "models/cpu/onnx/1/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    done = compress_command("serve", altered, "--port", "0")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {altered}: SHA-256 of every file: models/cpu/onnx/1/model.onnx was altered")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--variant", "onnx-int9"], "has no model 'onnx-int9'; it has onnx"),
        (["--max-texts", "9000"], "--max-texts 9000: more than --max-waiting 4096"),
        (["--host", "no.such.host.invalid"], "--host no.such.host.invalid: there is no such address"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 --port 0: Cannot assign requested address; choose another"),
        (["--memory", "1000"], "memory=1000: with onnx this process holds"),
    ],
)
def test_bad_options_are_told_in_one_line(classifier: Path, options: list[str], told: str, compress_command):
    done = compress_command("serve", classifier, "--port", "0", *options)
    assert done.returncode == 2
    assert told in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_address_that_another_holds_is_refused(classifier: Path, compress_command):
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = compress_command("serve", classifier, "--port", other.getsockname()[1])
    assert done.returncode == 2
    assert "Address already in use; choose another" in done.stderr


def test_what_is_no_bundle_is_refused(tmp_path: Path, compress_command):
    done = compress_command("serve", tmp_path)
    assert done.returncode == 2
    assert "manifest.json is missing" in done.stderr
