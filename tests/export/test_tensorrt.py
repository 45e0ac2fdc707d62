"""Engines, built for real by the ahead-of-time builder. Running one needs a GPU."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from compress.errors import CompressError
from compress.recipe_export import Profile, TensorRT
from compress.run import file_sha256
from export import tensorrt
from export.tensorrt import build_engine, choose_builder, gpu_name


def test_the_run_has_an_engine_and_its_sidecar(finished_run: Path):
    folder = finished_run / "tensorrt"
    sidecar = json.loads((folder / "student-fp16.json").read_text())
    engine = folder / sidecar["engine"]
    assert sidecar["bytes"] == engine.stat().st_size > 10_000
    assert sidecar["sha256"] == file_sha256(engine)
    assert sidecar["parent_sha256"] == file_sha256(finished_run / "onnx-fp16/model.onnx")
    assert sidecar["precision"] == "fp16"
    assert sidecar["profiles"][0]["minimum"] == {"batch": 1, "length": 1}
    assert [(value["name"], value["type"]) for value in sidecar["inputs"]] == [
        ("input_ids", "int64"),
        ("attention_mask", "int64"),
    ]
    assert sidecar["outputs"] == [{"name": "logits", "type": "float", "shape": [-1, 4]}]
    if sidecar["ahead_of_time"]:
        assert sidecar["sm"] == [80, 86, 89, 120]


@pytest.mark.skipif(gpu_name() is not None, reason="a GPU is present: the native builder is chosen")
def test_generations_and_precision_can_be_chosen(finished_run: Path, tmp_path: Path):
    settings = TensorRT(sm=[80, 89], precision="fp32", profiles=[Profile(), Profile(length=(64, 128, 256))])
    sidecar = build_engine(choose_builder(), finished_run / "onnx/model.onnx", tmp_path, settings, "onnx")
    assert sidecar["sm"] == [80, 89]
    assert len(sidecar["profiles"]) == 2
    assert (tmp_path / "student-fp32.engine").stat().st_size == sidecar["bytes"]


@pytest.mark.skipif(gpu_name() is not None, reason="a GPU is present: the native builder is chosen")
def test_turing_takes_half_precision_only(finished_run: Path, tmp_path: Path):
    settings = TensorRT(sm=[75])
    sidecar = build_engine(choose_builder(), finished_run / "onnx-fp16/model.onnx", tmp_path, settings, "onnx-fp16")
    assert sidecar["sm"] == [75]
    with pytest.raises(CompressError, match=r"SM75.*FP32 GEMM is not supported"):
        build_engine(choose_builder(), finished_run / "onnx/model.onnx", tmp_path, settings, "onnx")


@pytest.mark.skipif(gpu_name() is not None, reason="a GPU is present: the native builder is chosen")
def test_an_unknown_generation_is_refused(finished_run: Path, tmp_path: Path):
    with pytest.raises(CompressError, match=r"--sm 42: TensorRT-RTX .* builds for 75, 80, 86, 89, 120"):
        build_engine(choose_builder(), finished_run / "onnx/model.onnx", tmp_path, TensorRT(sm=[42]), "onnx")
    assert not list(tmp_path.iterdir())


def test_an_operator_that_is_not_supported_is_named(tmp_path: Path):
    value = helper.make_tensor_value_info
    node = helper.make_node("StrangeOperator", ["x"], ["y"], name="layer/strange", domain="elsewhere")
    graph = helper.make_graph(
        [node], "graph", [value("x", TensorProto.FLOAT, ["b", "l"])], [value("y", TensorProto.FLOAT, ["b", "l"])]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "model.onnx")
    with pytest.raises(CompressError) as error:
        build_engine(choose_builder(), tmp_path / "model.onnx", tmp_path, TensorRT(), "onnx")
    assert "node 'layer/strange' (StrangeOperator)" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_quantised_graph_is_refused_in_one_line(finished_run: Path, tmp_path: Path):
    with pytest.raises(CompressError, match=r"cannot be built: node '.*' (.*): .*") as error:
        build_engine(choose_builder(), finished_run / "onnx-int8/model.onnx", tmp_path, TensorRT(), "onnx-int8")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_without_a_builder_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorrt.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompressError, match=r"no TensorRT builder is installed; install the extra `trt-rtx`"):
        choose_builder()


@pytest.mark.skipif(gpu_name() is None, reason="running an engine needs a GPU")
def test_an_engine_is_for_the_gpu_that_is_present(finished_run: Path):
    sidecar = json.loads((finished_run / "tensorrt/student-fp16.json").read_text())
    assert sidecar["gpu"] == gpu_name() or sidecar["ahead_of_time"]
