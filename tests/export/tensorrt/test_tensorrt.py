"""Engines, built for real by the ahead-of-time builder. Running one needs a GPU."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import small_encoders
from onnx import TensorProto, helper

from compress.data.stage import load_data
from compress.errors import CompressError, UnavailableError
from compress.recipe.export import Profile, TensorRT
from compress.runs.directory import find_run
from compress.runs.files import file_sha256
from compress.runtimes import tensorrt as runtime
from compress.runtimes.contract import Predict
from compress.runtimes.generation import MERGED, Search
from compress.runtimes.onnx import load_onnx
from compress.runtimes.predict import load_predict
from compress.runtimes.tensorrt import EngineBuilder, choose_builder, gpu_name, runs_here
from compress.targets import TARGETS
from compress.tasks.contract import Task
from compress.tasks.registry import task_named
from compress.variants.engine import EngineTensor, read_sidecar
from export.tensorrt import builder as tensorrt
from export.tensorrt import stage as engine_stage
from export.tensorrt.builder import (
    DIFFERENCES,
    EngineRequest,
    build_engine,
    check_options,
    configure,
)
from export.tensorrt.compile import compile_onnx, precision_of
from export.tensorrt.explain import explain
from export.tensorrt.network import empty_network
from export.tensorrt.profiles import Input, check_axes, parse_profile
from export.variants.sample import draw_sample
from export.variants.summary import variant_stage

without_gpu = pytest.mark.skipif(gpu_name() is not None, reason="a GPU is present: the native builder is chosen")
with_gpu = pytest.mark.skipif(gpu_name() is None, reason="running an engine needs a GPU")
SEARCH = Search(beams=1, length_penalty=1.0, max_tokens=32)
SHORT_AND_LONG = [Profile(length=(1, 16, 32)), Profile(batch=(1, 1, 4), length=(32, 128, 256))]


def request(graph: Path, precision: str = "fp32", **settings) -> EngineRequest:
    return EngineRequest(graph, graph.parent.name, precision, TensorRT(**{"profiles": [Profile()], **settings}))


def test_the_run_has_an_engine_and_its_sidecar(finished_run: Path):
    folder = finished_run / "tensorrt-fp16"
    sidecar = read_sidecar(folder / "student-fp16.engine")
    engine = folder / sidecar.engine
    assert sidecar.bytes == engine.stat().st_size > 10_000
    assert sidecar.sha256 == file_sha256(engine)
    assert sidecar.parent_sha256 == file_sha256(finished_run / "onnx-fp16/model.onnx")
    assert sidecar.precision == "fp16"
    # Rows have at most 32 tokens.
    edges = [(profile.minimum, profile.optimum, profile.maximum) for profile in sidecar.profiles]
    assert [[edge.length for edge in profile] for profile in edges] == [[1, 8, 16], [16, 24, 32]]
    assert sidecar.largest_batch == 32
    inputs = [(value.name, value.type) for value in sidecar.inputs]
    assert inputs == [("input_ids", "int64"), ("attention_mask", "int64")]
    assert sidecar.outputs == [EngineTensor(name="logits", type="float", shape=[-1, 4])]
    if sidecar.ahead_of_time:
        assert sidecar.sm == [80, 86, 89, 120]
    assert find_run(finished_run, finished_run.parent).summary(variant_stage("tensorrt-fp16")).engines == [sidecar]


@without_gpu
def test_generations_and_profiles_can_be_chosen(finished_run: Path, tmp_path: Path):
    wanted = request(finished_run / "onnx/model.onnx", sm=[89, 80], profiles=SHORT_AND_LONG)
    sidecar = build_engine(choose_builder(), wanted, tmp_path)
    assert sidecar.sm == [80, 89]
    assert len(sidecar.profiles) == 2
    assert (tmp_path / "student-fp32.engine").stat().st_size == sidecar.bytes


@without_gpu
def test_int8_engines_are_built_from_static_int8(finished_run: Path, tmp_path: Path, compress_command):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--trt", "--precision", "int8", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)["variants"]["tensorrt-int8"]
    assert summary["parent"] == "onnx-static-gpu"
    assert (run / "tensorrt-int8/student-int8.engine").exists()
    assert precision_of(run / "onnx-static-gpu/model.onnx") == "int8"


@without_gpu
def test_turing_takes_half_precision_only(finished_run: Path, tmp_path: Path):
    half = request(finished_run / "onnx-fp16/model.onnx", "fp16", sm=[75])
    assert build_engine(choose_builder(), half, tmp_path).sm == [75]
    with pytest.raises(CompressError, match=r"SM75.*FP32 GEMM is not supported"):
        build_engine(choose_builder(), request(finished_run / "onnx/model.onnx", sm=[75]), tmp_path)


@without_gpu
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sm": [42]}, r"--sm 42: TensorRT-RTX .* builds for 75, 80, 86, 89, 120"),
        ({"version_compatible": True}, r"version_compatible: TensorRT-RTX .* its engines are for the version that"),
        ({"hardware_compatible": True}, r"hardware_compatible: TensorRT-RTX .* every generation that `sm` names"),
        ({"refit": True}, r"refit: TensorRT-RTX .* only beside a GPU"),
        ({"strip_weights": True}, r"strip_weights: TensorRT-RTX .* only beside a GPU"),
    ],
)
def test_what_the_builder_does_not_know_is_refused(settings: dict, message: str):
    with pytest.raises(CompressError, match=message):
        check_options(choose_builder(), TensorRT(**settings))


def test_every_option_is_in_the_list_of_differences():
    options = set(TensorRT.model_fields) - {"enabled", "precisions", "profiles"}
    assert options <= set(DIFFERENCES)


def test_options_reach_the_native_builder_s_configuration():
    """Both builders have one interface: the flags of the native one can be set, though not built, without a GPU."""
    builder = choose_builder()
    native = EngineBuilder("TensorRT", "11.4", builder.module, ahead_of_time=False)
    trt_builder, _, _, _ = empty_network(builder)
    config = trt_builder.create_builder_config()
    settings = TensorRT(
        workspace_mb=64,
        optimization_level=2,
        version_compatible=True,
        strip_weights=True,
    )
    configure(native, config, settings)
    flags, module = builder.module.BuilderFlag, builder.module
    for flag in (flags.VERSION_COMPATIBLE, flags.STRIP_PLAN, flags.REFIT_IDENTICAL):
        assert config.get_flag(flag)
    assert config.get_memory_pool_limit(module.MemoryPoolType.WORKSPACE) == 64 << 20
    assert config.builder_optimization_level == 2


def test_an_operator_that_is_not_supported_is_named(tmp_path: Path):
    value = helper.make_tensor_value_info
    node = helper.make_node("StrangeOperator", ["x"], ["y"], name="layer/strange", domain="elsewhere")
    graph = helper.make_graph(
        [node], "graph", [value("x", TensorProto.FLOAT, ["b", "l"])], [value("y", TensorProto.FLOAT, ["b", "l"])]
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("elsewhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "model.onnx")
    with pytest.raises(CompressError) as error:
        build_engine(choose_builder(), request(tmp_path / "model.onnx"), tmp_path)
    assert "node 'layer/strange' (StrangeOperator)" in str(error.value)
    assert "\n" not in str(error.value)


def test_int8_of_cpus_is_refused_and_the_way_out_is_named(finished_run: Path, tmp_path: Path):
    with pytest.raises(CompressError, match=r"cannot be built: node '.*' \(.*\): .*onnx-static") as error:
        build_engine(choose_builder(), request(finished_run / "onnx-int8/model.onnx"), tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_explaining_counts_layers_and_names_what_stops(finished_run: Path):
    builder = choose_builder()
    found = explain(builder, finished_run / "onnx-fp16/model.onnx")
    assert found.problems == []
    kinds = {(layer.type, layer.precision) for layer in found.layers}
    assert ("matrix_multiply", "half") in kinds
    refused = explain(builder, finished_run / "onnx-int8/model.onnx")
    assert refused.layers == []
    assert {problem.operator for problem in refused.problems} >= {"QuantizeLinear"}


def test_explaining_builds_nothing(finished_run: Path, tmp_path: Path, compress_command):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    shutil.rmtree(run / "tensorrt-fp16")
    done = compress_command("export", run, "--trt", "--explain", "--precision", "fp16,fp32", "--json")
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["graphs"]) == {"onnx-fp16/model.onnx", "onnx/model.onnx"}
    assert "nothing stops TensorRT" in done.stderr
    assert not list(run.glob("tensorrt*"))


def test_an_onnx_file_from_elsewhere_is_compiled(tmp_path: Path, compress_command):
    graph = small_encoders.write_onnx("bert", tmp_path / "mine.onnx")
    done = compress_command(
        "export", "--onnx", graph, "--trt", "--precision", "fp16", "--profile", "1:8:32,1:32:64",
        "--profile", "1:1:4,32:64:128", "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    engine = json.loads(done.stdout)["engine"]
    folder = tmp_path / "out/mine/tensorrt-fp16"
    assert Path(engine["folder"]) == folder
    assert {path.name for path in folder.iterdir()} == {"mine.onnx", "mine-fp16.engine", "mine-fp16.json"}
    assert "--minShapes=input_ids:1x1,attention_mask:1x1" in engine["trtexec"]
    assert "--profile=1 --minShapes=input_ids:1x32,attention_mask:1x32" in engine["trtexec"]
    assert "--profile 1:8:32,1:32:64 --profile 1:1:4,32:64:128" in engine["rebuild"]
    again = compress_command(*engine["rebuild"].split()[1:], "--output", tmp_path / "again", "--json")
    assert again.returncode == 0, again.stderr
    rebuilt = json.loads(again.stdout)["engine"]
    assert rebuilt["profiles"] == engine["profiles"]
    assert rebuilt["parent_sha256"] == engine["parent_sha256"]


def test_an_engine_keeps_the_precision_of_its_graph(finished_run: Path, tmp_path: Path):
    with pytest.raises(CompressError, match=r"the graph is in fp16, so an engine in int8 cannot be built from it"):
        compile_onnx(finished_run / "onnx-fp16/model.onnx", tmp_path, TensorRT(), "int8")
    assert not list(tmp_path.iterdir())


def test_axes_that_do_not_vary_are_named(tmp_path: Path, compress_command):
    graph = small_encoders.write_onnx("bert", tmp_path / "fixed.onnx")
    model = onnx.load(graph)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, graph)
    done = compress_command("export", "--onnx", graph, "--trt", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert "input 'input_ids' has a fixed batch of 1 (axis 0), the profile wants 1 to 32" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").rglob("*.engine"))
    fixed = compress_command(
        "export", "--onnx", graph, "--trt", "--profile", "1:1:1,1:32:64", "--output", tmp_path / "out"
    )
    assert fixed.returncode == 0, fixed.stderr


@pytest.mark.parametrize("text", ["1:8:32", "1:8,1:32:64", "a:b:c,1:2:3", "1:8:32,1:32:64,1"])
def test_a_profile_is_two_triples(text: str):
    assert parse_profile("1:8:32,1:32:64") == {"batch": [1, 8, 32], "length": [1, 32, 64]}
    with pytest.raises(CompressError, match=r"expected minimum:optimum:maximum of batch and length"):
        parse_profile(text)


def test_the_first_axis_is_the_batch_and_others_that_vary_are_lengths():
    profile = Profile(batch=(1, 8, 32), length=(1, 32, 64))
    past = Input("past", [-1, 12, -1, 64], ["batch_size", "", "past_length", ""])
    assert past.ranges(profile) == [(1, 8, 32), (12, 12, 12), (1, 32, 64), (64, 64, 64)]
    check_axes(Path("decoder.onnx"), [Input("input_ids", [-1, 1], ["batch_size", ""]), past], profile)
    with pytest.raises(CompressError, match=r"input 'input_ids' has a fixed length of 128 \(axis 1\)"):
        check_axes(Path("model.onnx"), [Input("input_ids", [-1, 128], ["batch_size", ""])], profile)


def test_without_a_builder_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompressError, match=r"no TensorRT builder is installed; install the extra `trt-rtx`"):
        choose_builder()


@without_gpu
def test_an_engine_for_another_machine_is_not_run(finished_run: Path):
    assert not runs_here(read_sidecar(finished_run / "tensorrt-fp16/student-fp16.engine"))
    with pytest.raises(UnavailableError, match=r"student-fp16.engine: needs a GPU of sm80, "):
        load_predict(finished_run / "tensorrt-fp16", task_named("text-classification"), SEARCH)


@with_gpu
def test_an_engine_answers_as_its_onnx_does(finished_run: Path):
    sidecar = read_sidecar(finished_run / "tensorrt-fp16/student-fp16.engine")
    if not runs_here(sidecar):
        pytest.skip(f"the engine is for {sidecar.generations}")
    task = task_named("text-classification")
    predict = load_predict(finished_run / "tensorrt-fp16", task, SEARCH)
    known = load_onnx(finished_run / "onnx-fp16/model.onnx", task)
    feed = small_encoders.inputs()
    assert np.abs(predict(feed) - known(feed)).max() < 0.1


@with_gpu
def test_parity_of_the_engine_is_in_the_manifest(finished_run: Path):
    run = find_run(finished_run, finished_run.parent)
    summary = run.summary(variant_stage("tensorrt-fp16"))
    if runs_here(summary.engines[0]):
        assert summary.parity is not None
        assert summary.parity.rows == min(60, len(load_data(run).splits["validation"]))
        assert summary.parity.agreement > 0.9


def test_a_timing_cache_is_read_and_written_by_the_native_builder(tmp_path: Path):
    """The part around NVIDIA's calls, with a configuration that records them."""
    written = {}

    def create(content: bytes) -> SimpleNamespace:
        written["given"] = content
        return SimpleNamespace(serialize=lambda: content + b"timed")

    config = SimpleNamespace(
        create_timing_cache=create,
        set_timing_cache=lambda cache, ignore_mismatch: written.update(cache=cache),
        get_timing_cache=lambda: written["cache"],
    )
    native = EngineBuilder("TensorRT", "11.4", SimpleNamespace(), ahead_of_time=False)
    path = tmp_path / "timing/gpu.cache"
    for before, after in ((b"", b"timed"), (b"timed", b"timedtimed")):
        tensorrt._read_timing_cache(native, config, path)
        assert written["given"] == before
        tensorrt._write_timing_cache(native, config, path)
        assert path.read_bytes() == after


def test_engines_of_a_translator_are_said_to_be_run_by_nothing_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name in (*task_named("translation").GRAPHS, MERGED):
        (tmp_path / name).touch()
    built = []

    def stand_in(builder: EngineBuilder, request: EngineRequest, folder: Path) -> SimpleNamespace:
        built.append(request.graph.name)
        return SimpleNamespace(bytes=1)

    monkeypatch.setattr(engine_stage, "build_engine", stand_in)
    run = SimpleNamespace(task=task_named("translation"), folder=tmp_path / "run", path_of=lambda name: tmp_path)
    engine_stage._build(run, "fp16", EngineBuilder("any", "1", SimpleNamespace(), True), TensorRT(), tmp_path)
    assert built == sorted(task_named("translation").GRAPHS)
    assert "tensorrt-fp16: nothing here runs engines of models that write" in capsys.readouterr().err


@without_gpu
def test_an_engine_is_compared_within_its_profiles(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As beside a GPU: the engine is built for real, and its graph answers in its place."""
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    batches = []

    def stand_in(path: Path, task: Task) -> Predict:
        assert path.name == "student-fp32.engine"
        predict = load_onnx(finished_run / "onnx/model.onnx", task)

        def recorded(inputs: dict[str, np.ndarray]) -> np.ndarray:
            batches.append(len(inputs["input_ids"]))
            return predict(inputs)

        return recorded

    monkeypatch.setattr(engine_stage, "runs_here", lambda sidecar: True)
    monkeypatch.setattr("compress.runtimes.tensorrt.load_engine", stand_in)
    run = find_run(folder, tmp_path)
    sample = draw_sample(run, load_data(run), 60)
    summary = engine_stage.run_engine_stage(run, "fp32", TARGETS["cpu-avx2"], sample)
    assert summary.parity is not None
    assert (summary.parent, summary.parity.rows, summary.parity.max_difference) == ("onnx", 60, 0.0)
    assert sum(batches) == 60
    assert max(batches) <= 32
