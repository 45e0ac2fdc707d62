"""Configurations as Triton itself reads them, and its Python model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from compress.reports.bench import Report
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from export.bundle.triton.configuration import (
    Message,
    Serving,
    graph_text_configuration,
    tensor_configuration,
    text_configuration,
    write_configuration,
    write_text_warm_up,
)
from export.bundle.triton.graphs import Value

INPUTS = [Value("input_ids", "int64", (-1,)), Value("attention_mask", "int64", (-1,))]
LOGITS = [Value("logits", "float", (4,))]


def parsed(path: Path) -> ModelConfig:
    return text_format.Parse(path.read_text("utf-8"), ModelConfig())


def as_triton_reads_it(config: Message, folder: Path) -> ModelConfig:
    write_configuration(folder / "config.pbtxt", config)
    return parsed(folder / "config.pbtxt")


def test_every_configuration_of_a_bundle_is_one_of_triton_s(bundle: Path):
    paths = sorted(bundle.rglob("*.pbtxt"))
    assert len(paths) == 8  # five models; three of them by their graph too
    for path in paths:
        config = parsed(path)
        folder = path.parent.parent if path.parent.name == "configs" else path.parent
        assert config.name == folder.name
        assert config.version_policy.latest.num_versions == 1
        assert config.model_warmup
        for sample in config.model_warmup:
            for name, value in sample.inputs.items():
                file = folder / "warmup" / value.input_data_file
                if value.data_type == DataType.TYPE_INT64:
                    assert file.stat().st_size == 8 * np.prod(value.dims)
                else:
                    assert file.read_bytes()[4:].decode()
                assert name in {tensor.name for tensor in config.input}


def test_a_measured_model_is_served_as_it_was_measured(bundle: Path, report: Report):
    config = parsed(bundle / "models/cpu/onnx-int8/config.pbtxt")
    measured = report.models["onnx-int8"].latency
    assert config.backend == "onnxruntime"
    assert config.max_batch_size == max(map(int, measured))
    assert [(value.name, value.data_type, list(value.dims)) for value in config.input] == [
        ("input_ids", DataType.TYPE_INT64, [-1]),
        ("attention_mask", DataType.TYPE_INT64, [-1]),
    ]
    assert [(value.name, value.data_type, list(value.dims)) for value in config.output] == [
        ("logits", DataType.TYPE_FP32, [4])
    ]
    delay = config.dynamic_batching.max_queue_delay_microseconds
    gains = bool(config.dynamic_batching.preferred_batch_size)
    assert delay == (max(1, round(1000 * measured["1"].p50_ms)) if gains else 0)
    (group,) = config.instance_group
    assert (group.kind, group.count) == (ModelInstanceGroup.KIND_CPU, 1)
    assert config.parameters["intra_op_thread_count"].string_value == "1"
    assert config.parameters["enable_mem_pattern"].string_value == "0"


@pytest.mark.parametrize(
    ("rates", "preferred"),
    [
        ({1: 100, 2: 180, 4: 300, 8: 310, 16: 500}, [2, 4, 16]),  # 8 gains too little
        ({1: 100, 8: 90}, []),
        ({8: 400}, [8]),
        ({}, []),
    ],
)
def test_preferred_batches_are_those_that_gain(rates: dict, preferred: list):
    assert Serving("m", "ONNX Runtime", False, 16, rates).preferred_batches == preferred


@pytest.mark.parametrize(("rates", "delay"), [({1: 100, 8: 180}, 10_000), ({1: 100, 8: 102}, 0)])
def test_requests_wait_for_one_another_only_where_that_gains(rates: dict, delay: int, tmp_path: Path):
    serving = Serving("m", "ONNX Runtime", False, 8, rates, row_ms=10)
    config = as_triton_reads_it(tensor_configuration(serving, INPUTS, LOGITS, 7), tmp_path)
    assert config.dynamic_batching.max_queue_delay_microseconds == delay


def test_what_was_not_measured_has_one_thread_and_not_all_of_the_host(tmp_path: Path):
    serving = Serving("m", "ONNX Runtime", False, 8)
    config = as_triton_reads_it(tensor_configuration(serving, INPUTS, LOGITS, 7), tmp_path)
    told = {name: value.string_value for name, value in config.parameters.items()}
    assert told == {"intra_op_thread_count": "1", "enable_mem_pattern": "0"}


def test_models_for_gpus_run_on_gpus(bundle: Path):
    config = parsed(bundle / "models/cuda/onnx-fp16/config.pbtxt")
    assert config.instance_group[0].kind == ModelInstanceGroup.KIND_GPU
    assert not config.parameters  # threads are the CPU's
    ahead = parsed(bundle / "models/tensorrt-rtx/tensorrt-fp16/config.pbtxt")
    assert (ahead.backend, ahead.max_batch_size) == ("python", 32)  # Triton has no backend for these engines
    assert ahead.instance_group[0].kind == ModelInstanceGroup.KIND_GPU


def test_native_engines_go_to_triton_s_own_backend(tmp_path: Path):
    serving = Serving("tensorrt-fp16", "TensorRT", True, 32, profiles=2, file="student-fp16.engine")
    config = as_triton_reads_it(tensor_configuration(serving, INPUTS, LOGITS, 7), tmp_path)
    assert (config.backend, config.default_model_filename) == ("tensorrt", "student-fp16.engine")
    assert list(config.instance_group[0].profile) == ["0", "1"]


def test_openvino_s_model_is_run_in_the_precision_that_was_compared(bundle: Path):
    config = parsed(bundle / "models/openvino/openvino-int8/config.pbtxt")
    assert config.backend == "python"  # Triton's own cannot be told not to take bf16 where the processor has it
    assert [value.name for value in config.input] == ["TEXT"]


def test_translation_is_asked_for_languages(tmp_path: Path):
    row, task = Row("guten Tag", "good day", "de-en"), task_named("translation")
    config = as_triton_reads_it(text_configuration(Serving("onnx", "ONNX Runtime", False, 8), task, 0, row), tmp_path)
    assert [value.name for value in config.input] == ["TEXT", "LANGUAGES"]
    assert [value.name for value in config.output] == ["PREDICTION"]
    write_text_warm_up(tmp_path / "warmup", task, row)
    assert (tmp_path / "warmup/LANGUAGES").read_bytes() == b"\x05\x00\x00\x00de-en"


def test_a_graph_that_reads_text_has_one_text_a_row(tmp_path: Path):
    config = as_triton_reads_it(graph_text_configuration(Serving("t", "ONNX Runtime", False, 8), 4), tmp_path)
    assert config.input[0].data_type == DataType.TYPE_STRING
    assert config.input[0].HasField("reshape")
    assert list(config.model_operations.op_library_filename) == ["libortextensions.so"]


class Tensor:
    """What Triton's `pb_utils.Tensor` does of it that the model uses."""

    def __init__(self, name: str, array: np.ndarray):
        self.name, self._array = name, array

    def as_numpy(self) -> np.ndarray:
        return self._array


def test_the_python_model_answers_each_request_with_its_own_rows(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    utils = ModuleType("triton_python_backend_utils")
    utils.Tensor = Tensor  # type: ignore[attr-defined]
    utils.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error)  # type: ignore[attr-defined]
    utils.get_input_tensor_by_name = lambda request, name: request[name]  # type: ignore[attr-defined]
    utils.TritonError = str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
    folder = bundle / "models/cpu/onnx"
    space: dict = {}
    exec(compile((folder / "1/model.py").read_text("utf-8"), "model.py", "exec"), space)
    model = space["TritonPythonModel"]()
    config = {"input": [{"name": "TEXT"}], "parameters": {"threads": {"string_value": "1"}}}
    model.initialize({"model_config": json.dumps(config), "model_repository": str(folder), "model_version": "1"})
    texts = [["3,50 €", "12:30"], ["2021年3月"]]
    requests = [{"TEXT": Tensor("TEXT", np.array([[text.encode()] for text in own], dtype=object))} for own in texts]
    one, other = model.execute(requests)
    assert one.tensors[0].as_numpy().shape == (2, 1)
    assert other.tensors[0].as_numpy().shape == (1, 1)
    assert one.tensors[1].as_numpy().shape == (2, 4)
    assert np.allclose(one.tensors[1].as_numpy().sum(axis=1), 1)
    for text, error in (
        (np.array([[b"\xff"]], dtype=object), "can't decode byte 0xff"),
        (np.array([["\ud800"]], dtype=object), "'str' object has no attribute 'decode'"),
        (np.empty((1, 0), dtype=object), "index 0 is out of bounds"),
        (np.empty((0, 1), dtype=object), "TEXT: there are no texts; give at least one"),
    ):
        refused, again = model.execute([{"TEXT": Tensor("TEXT", text)}, requests[0]])  # joined, from two clients
        assert error in refused.error
        assert again.error is None
        assert again.tensors[0].as_numpy().tolist() == one.tensors[0].as_numpy().tolist()
