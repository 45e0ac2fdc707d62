"""Triton's model repository: `config.pbtxt` of each model, and the files that it is warmed up with.

Fields are those of `model_config.proto` of Triton's core. A model's folder serves two ways: by its graph, tokens in and
logits out, with `config.pbtxt`; and, started with ``--model-config-name text``, text in and predictions out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compress.data.encode import pad
from compress.serving.format import ServedRuntime
from compress.tasks.contract import Example, Task
from compress.tasks.rows import Row
from export.bundle.triton.graphs import Value

Message = Mapping[str, object]
"""A message of protobuf: values by field, lists where a field is repeated, and messages again."""

TEXT_CONFIGURATION = "configs/text.pbtxt"
_FASTER = 1.05
_TYPES = {"int64": "TYPE_INT64", "int32": "TYPE_INT32", "float": "TYPE_FP32", "float16": "TYPE_FP16"}
# Triton's backend for OpenVINO has no parameter for 32 bits: where a processor has bf16 it would give other answers
# than those that were compared.
_BACKENDS: Mapping[ServedRuntime, str] = {"ONNX Runtime": "onnxruntime", "TensorRT": "tensorrt"}


class Name(str):
    """A value that is written without quotes: of an enumeration."""


@dataclass(frozen=True)
class Serving:
    """How a model is to be served.

    ``rates`` are rows a second by batch size, as they were measured on this target; ``row_ms`` is the median time of
    one row, in milliseconds; ``largest_batch`` is what was measured or, for engines, what their profiles allow.
    """

    name: str
    runtime: ServedRuntime
    on_gpu: bool
    largest_batch: int
    rates: Mapping[int, float] = field(default_factory=dict)
    row_ms: float | None = None
    threads: int | None = None
    profiles: int = 0
    file: str = "model.onnx"

    @property
    def has_backend(self) -> bool:
        """Whether a backend of Triton runs its graph as it was measured: none knows engines that were built ahead of
        time, and none tells OpenVINO its precision."""
        return self.runtime in _BACKENDS

    @property
    def preferred_batches(self) -> list[int]:
        """Sizes at which more rows are done in a second than at any smaller one."""
        chosen, best = [], 0.0
        for size, rate in sorted(self.rates.items()):
            if rate > best * _FASTER:
                best = rate
                chosen.append(size)
        return [size for size in chosen if size > 1]


def tensor_configuration(serving: Serving, inputs: Sequence[Value], outputs: Sequence[Value], length: int) -> Message:
    """Tokens in, logits out, by the backend of the model's runtime.

    :param length: Tokens of the row that it is warmed up with.
    """
    sample = [{"key": value.name, "value": _filed(value.name, Name(_TYPES[value.type]), length)} for value in inputs]
    return {
        "name": serving.name,
        "backend": _BACKENDS[serving.runtime],
        **({"default_model_filename": serving.file} if serving.file != "model.onnx" else {}),
        "max_batch_size": serving.largest_batch,
        "input": [_described(value) for value in inputs],
        "output": [_described(value) for value in outputs],
        **_scheduling(serving),
        "model_warmup": [
            {"name": f"batch of {size}", "batch_size": size, "inputs": sample}
            for size in (1, *serving.preferred_batches)
        ],
        **_parameters({} if serving.on_gpu else _backend_parameters(serving)),
    }


def text_configuration(serving: Serving, task: Task, classes: int, row: Row) -> Message:
    """Text in, predictions out, by the Python backend.

    :param classes: Number of labels, or of a vector's numbers.
    :param row: One of the rows, which tells what a text comes with.
    """
    inputs = list(task.question(row))
    outputs: list[Message] = [{"name": "PREDICTION", "data_type": Name("TYPE_STRING"), "dims": [1]}]
    if task.VECTORS:
        outputs = [{"name": "EMBEDDING", "data_type": Name("TYPE_FP32"), "dims": [classes]}]
    if task.SINGLE_LABEL or task.SEVERAL_LABELS:
        outputs.append({"name": "PROBABILITIES", "data_type": Name("TYPE_FP32"), "dims": [classes]})
    return {
        "name": serving.name,
        "backend": "python",
        "max_batch_size": serving.largest_batch,
        "input": [{"name": name, "data_type": Name("TYPE_STRING"), "dims": [1]} for name in inputs],
        "output": outputs,
        **_scheduling(serving),
        "model_warmup": [_text_sample(inputs)],
        **_parameters({"threads": serving.threads} if serving.threads else {}),
    }


def graph_text_configuration(serving: Serving, classes: int) -> Message:
    """Text in, label out, by a graph with the tokenizer inside; Triton needs the library of its operators.

    :param classes: Number of labels.
    """
    one: Message = {"shape": []}
    return {
        "name": serving.name,
        "backend": "onnxruntime",
        "max_batch_size": serving.largest_batch,
        "input": [{"name": "text", "data_type": Name("TYPE_STRING"), "dims": [1], "reshape": one}],
        "output": [
            {"name": "label", "data_type": Name("TYPE_STRING"), "dims": [1], "reshape": one},
            {"name": "probabilities", "data_type": Name("TYPE_FP32"), "dims": [classes]},
        ],
        **_scheduling(serving),
        "model_warmup": [_text_sample(["text"])],
        **_parameters(_backend_parameters(serving)),
        "model_operations": {"op_library_filename": ["libortextensions.so"]},
    }


def write_configuration(path: Path, config: Message) -> None:
    """Write a configuration in protobuf's text format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in _lines(config)), "utf-8")


def write_tensor_warm_up(folder: Path, inputs: Sequence[Value], example: Example) -> None:
    """Write the tokens of a real row, a file an input; zeros where the tokenizer gives none."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = pad([example], pad_id=0)  # one row has no padding
    for value in inputs:
        tokens = arrays.get(value.name, np.zeros_like(arrays["input_ids"]))
        kind = np.int32 if value.type == "int32" else np.int64
        (folder / value.name).write_bytes(tokens.astype(kind).tobytes())


def write_text_warm_up(folder: Path, task: Task, row: Row) -> None:
    """Write what a real row is asked with."""
    for name, text in task.question(row).items():
        write_string(folder / name, text)


def write_string(path: Path, text: str) -> None:
    """Write a text as Triton reads it: the number of bytes, little-endian in 32 bits, and UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text.encode()).to_bytes(4, "little") + text.encode())


def _text_sample(names: Sequence[str]) -> Message:
    """A row to warm up with, each of whose texts is in a file of its name."""
    inputs = [{"key": name, "value": _filed(name, Name("TYPE_STRING"), 1)} for name in names]
    return {"name": "one row", "batch_size": 1, "inputs": inputs}


def _filed(file: str, kind: Name, length: int) -> Message:
    return {"data_type": kind, "dims": [length], "input_data_file": file}


def _described(value: Value) -> Message:
    return {"name": value.name, "data_type": Name(_TYPES[value.type]), "dims": list(value.shape)}


def _backend_parameters(serving: Serving) -> Mapping[str, int]:
    """Threads and memory of a processor: by itself ONNX Runtime counts the cores of the host.

    One thread, where none were measured, fits into every quota, and does not spin.
    """
    return {  # plans of memory for each shape would fill it
        "intra_op_thread_count": serving.threads or 1,
        "enable_mem_pattern": 0,
    }


def _parameters(values: Mapping[str, int]) -> Message:
    if not values:
        return {}
    return {"parameters": [{"key": key, "value": {"string_value": str(value)}} for key, value in values.items()]}


def _scheduling(serving: Serving) -> Message:
    """One instance, which has all threads. Requests that are there are joined; they wait for others only where more
    rows are done in a second side by side, and at most as long as one row takes."""
    batching: dict[str, object] = {}
    if serving.preferred_batches:
        batching["preferred_batch_size"] = serving.preferred_batches
    if serving.preferred_batches and serving.row_ms is not None:
        batching["max_queue_delay_microseconds"] = max(1, round(1000 * serving.row_ms))
    instances: dict[str, object] = {"count": 1, "kind": Name("KIND_GPU" if serving.on_gpu else "KIND_CPU")}
    if serving.profiles and serving.runtime == "TensorRT":
        instances["profile"] = [str(number) for number in range(serving.profiles)]
    return {
        "dynamic_batching": batching,
        "instance_group": [instances],
        "version_policy": {"latest": {"num_versions": 1}},
    }


def _lines(message: Message, indent: str = "") -> list[str]:
    lines = []
    for name, value in message.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                lines += [f"{indent}{name} {{", *_lines(each, indent + "  "), f"{indent}}}"]
            else:
                shown = json.dumps(each, ensure_ascii=False) if type(each) is str else str(each)
                lines.append(f"{indent}{name}: {shown}")
    return lines
