"""Triton's model repository: `config.pbtxt` of each model, warm-up data, and the Python backend's model.

Fields are those of `model_config.proto` of Triton's core. A model's folder serves two ways: by its graph, tokens in and
logits out, with `config.pbtxt`; and, started with ``--model-config-name text``, text in and predictions out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.encode import pad
from compress.runtimes.openvino import OPENVINO_MODEL
from compress.tasks.contract import Example, Task
from compress.tasks.rows import Row

TEXT_CONFIGURATION = "configs/text.pbtxt"
_FASTER = 1.05
_TYPES = {"int64": "TYPE_INT64", "int32": "TYPE_INT32", "float": "TYPE_FP32", "float16": "TYPE_FP16"}
_BACKENDS = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "TensorRT": "tensorrt"}


class Name(str):
    """A value that is written without quotes: of an enumeration."""


@dataclass(frozen=True)
class Value:
    """An input or output of a graph: its shape without the batch, -1 where it varies."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Serving:
    """How a model is to be served.

    ``rates`` are rows a second by batch size, as they were measured on this target; ``row_ms`` is the median time of
    one row; ``largest_batch`` is what was measured or, for engines, what their profiles allow.
    """

    name: str
    runtime: str
    on_gpu: bool
    largest_batch: int
    rates: Mapping[int, float] = field(default_factory=dict)
    row_ms: float | None = None
    threads: int | None = None
    profiles: int = 0
    file: str = "model.onnx"

    @property
    def has_backend(self) -> bool:
        """Whether a backend of Triton runs its graph: none knows engines that were built ahead of time."""
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


def tensor_configuration(serving: Serving, inputs: Sequence[Value], outputs: Sequence[Value]) -> dict[str, Any]:
    """Tokens in, logits out, by the backend of the model's runtime."""
    config = {
        "name": serving.name,
        "backend": _BACKENDS[serving.runtime],
        **({"default_model_filename": serving.file} if serving.file != "model.onnx" else {}),
        "max_batch_size": serving.largest_batch,
        "input": [_described(value) for value in inputs],
        "output": [_described(value) for value in outputs],
        **_scheduling(serving),
        "model_warmup": [
            {
                "name": f"batch of {size}",
                "batch_size": size,
                "inputs": [
                    {
                        "key": value.name,
                        "value": {
                            "data_type": Name(_TYPES[value.type]),
                            "dims": [-1],  # filled in with the length of the row
                            "input_data_file": value.name,
                        },
                    }
                    for value in inputs
                ],
            }
            for size in (1, *serving.preferred_batches)
        ],
    }
    if serving.runtime == "ONNX Runtime" and serving.threads and not serving.on_gpu:
        threads = {"key": "intra_op_thread_count", "value": {"string_value": str(serving.threads)}}
        config["parameters"] = [threads]
    return config


def text_configuration(serving: Serving, task: Task, classes: int, row: Row) -> dict[str, Any]:
    """Text in, predictions out, by the Python backend.

    :param classes: Number of labels.
    :param row: One of the rows, which tells what a text comes with.
    """
    inputs = ["TEXT", *(["TEXT_PAIR"] if row.text_pair is not None else []), *(["LANGUAGES"] if task.GENERATES else [])]
    outputs = [{"name": "PREDICTION", "data_type": Name("TYPE_STRING"), "dims": [1]}]
    if task.SINGLE_LABEL:
        outputs.append({"name": "PROBABILITIES", "data_type": Name("TYPE_FP32"), "dims": [classes]})
    return {
        "name": serving.name,
        "backend": "python",
        "max_batch_size": serving.largest_batch,
        "input": [{"name": name, "data_type": Name("TYPE_STRING"), "dims": [1]} for name in inputs],
        "output": outputs,
        **_scheduling(serving),
        "model_warmup": [_text_sample(inputs)],
        **(
            {"parameters": [{"key": "threads", "value": {"string_value": str(serving.threads)}}]}
            if serving.threads
            else {}
        ),
    }


def graph_text_configuration(serving: Serving, classes: int) -> dict[str, Any]:
    """Text in, label out, by a graph with the tokenizer inside; Triton needs the library of its operators."""
    one: dict[str, list[int]] = {"shape": []}
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
        "model_operations": {"op_library_filename": ["libortextensions.so"]},
    }


def write_configuration(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration in protobuf's text format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in _lines(config)), "utf-8")


def write_tensor_warm_up(folder: Path, config: dict[str, Any], example: Example) -> None:
    """Write the tokens of a real row, and their number into the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = pad([example], pad_id=0)  # one row has no padding
    length = arrays["input_ids"].shape[1]
    for sample in config["model_warmup"]:
        for entry in sample["inputs"]:
            entry["value"]["dims"] = [length]
            tokens = arrays.get(entry["key"], np.zeros((1, length)))
            kind = np.int32 if entry["value"]["data_type"] == "TYPE_INT32" else np.int64
            (folder / entry["key"]).write_bytes(tokens.astype(kind).tobytes())


def write_text_warm_up(folder: Path, task: Task, row: Row) -> None:
    """Write what a real row is asked with."""
    text = row.text if isinstance(row.text, str) else json.dumps(row.text, ensure_ascii=False)
    write_string(folder / "TEXT", text)
    if row.text_pair is not None:
        write_string(folder / "TEXT_PAIR", row.text_pair)
    if task.GENERATES:
        write_string(folder / "LANGUAGES", row.lang)


def write_string(path: Path, text: str) -> None:
    """Write a text as Triton reads it: the number of bytes, little-endian in 32 bits, and UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text.encode()).to_bytes(4, "little") + text.encode())


def graph_values(folder: Path, runtime: str) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs of the graph in a folder."""
    if runtime == "OpenVINO":
        return _openvino_values(folder / OPENVINO_MODEL)
    if runtime == "ONNX Runtime":
        return _onnx_values(folder / "model.onnx")
    sidecar = json.loads(next(folder.glob("*.engine")).with_suffix(".json").read_text("utf-8"))
    inputs, outputs = (
        [Value(value["name"], value["type"], tuple(value["shape"][1:])) for value in sidecar[side]]
        for side in ("inputs", "outputs")
    )
    return inputs, outputs


def _onnx_values(path: Path) -> tuple[list[Value], list[Value]]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph

    def described(value: Any) -> Value:
        tensor = value.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
        return Value(value.name, kind, shape[1:])

    return [described(value) for value in graph.input], [described(value) for value in graph.output]


def _openvino_values(path: Path) -> tuple[list[Value], list[Value]]:
    from compress.runtimes.openvino import openvino_core

    types = {"i64": "int64", "i32": "int32", "f32": "float", "f16": "float16"}
    model = openvino_core().read_model(path)

    def described(value: Any) -> Value:
        shape = tuple(size.get_length() if size.is_static else -1 for size in value.partial_shape)
        return Value(value.any_name, types[value.element_type.get_type_name()], shape[1:])

    return [described(value) for value in model.inputs], [described(value) for value in model.outputs]


def _text_sample(names: Sequence[str]) -> dict[str, Any]:
    """A row to warm up with, each of whose texts is in a file of its name."""
    values = {name: {"data_type": Name("TYPE_STRING"), "dims": [1], "input_data_file": name} for name in names}
    inputs = [{"key": name, "value": value} for name, value in values.items()]
    return {"name": "one row", "batch_size": 1, "inputs": inputs}


def _described(value: Value) -> dict[str, Any]:
    return {"name": value.name, "data_type": Name(_TYPES[value.type]), "dims": list(value.shape)}


def _scheduling(serving: Serving) -> dict[str, Any]:
    """One instance, which has all threads; requests wait for one another at most as long as one row takes."""
    batching: dict[str, Any] = {}
    if serving.preferred_batches:
        batching["preferred_batch_size"] = serving.preferred_batches
    if serving.row_ms is not None:
        batching["max_queue_delay_microseconds"] = max(1, round(1000 * serving.row_ms))
    instances: dict[str, Any] = {"count": 1, "kind": Name("KIND_GPU" if serving.on_gpu else "KIND_CPU")}
    if serving.profiles and serving.runtime == "TensorRT":
        instances["profile"] = [str(number) for number in range(serving.profiles)]
    return {
        "dynamic_batching": batching,
        "instance_group": [instances],
        "version_policy": {"latest": {"num_versions": 1}},
    }


def _lines(fields: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                lines += [f"{indent}{name} {{", *_lines(each, indent + "  "), f"{indent}}}"]
            else:
                shown = json.dumps(each, ensure_ascii=False) if type(each) is str else str(each)
                lines.append(f"{indent}{name}: {shown}")
    return lines
