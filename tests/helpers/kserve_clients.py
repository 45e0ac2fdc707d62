"""Asking a server by KServe's protocol with NVIDIA's clients, whichever server it is."""

from __future__ import annotations

import json
import socket
from typing import Any

import numpy as np

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Of the loopback."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind((LOOPBACK, 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def inputs_of(task: str, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What a task's model is asked with about rows of `task_rows`."""
    texts = [json.dumps(row["text"]) if task == "token-classification" else row["text"] for row in rows]
    inputs = {"TEXT": texts}
    if task in ("text-classification", "question-answering"):
        inputs["TEXT_PAIR"] = [row["text_pair"] for row in rows]
    return {**inputs, "LANGUAGES": [row["lang"] for row in rows]} if task == "translation" else inputs


def asked(module: Any, address: str, model: str, inputs: dict[str, list[str]], output: str = "PREDICTION") -> Any:
    """What a server answers, as an array.

    :param module: `tritonclient.http` or `tritonclient.grpc`.
    """
    client = module.InferenceServerClient(address)
    tensors = []
    for name, texts in inputs.items():
        array = np.array([[text.encode()] for text in texts], dtype=object)
        tensors.append(module.InferInput(name, list(array.shape), "BYTES"))
        tensors[-1].set_data_from_numpy(array)
    found = client.infer(model, tensors).as_numpy(output)
    client.close()
    return found


def predictions(module: Any, address: str, model: str, inputs: dict[str, list[str]]) -> list[str]:
    """The predictions, as text."""
    return [row[0].decode() for row in asked(module, address, model, inputs)]
