"""What is in the graphs of the smaller variants, read with the onnx library and run in ONNX Runtime."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import small_encoders
import small_translators
import torch
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from processors import saturates
from safetensors.torch import save_model
from transformers import AutoModelForSeq2SeqLM

from compress.errors import CompressError, RejectedVariantError
from compress.runtimes.onnx import onnx_session
from compress.runtimes.openvino import openvino_core
from compress.targets import TARGETS, resolve_target
from export.onnx import weights as beside
from export.onnx.checks import check_onnx
from export.onnx.graphs import graph_bytes, graph_files
from export.onnx.layers import layers_in, layers_of, weights_of
from export.onnx.seq2seq import seq2seq_graphs
from export.onnx.weights import save_graph, save_graphs, weight_bytes
from export.quantize import folder as all_graphs
from export.quantize import openvino
from export.quantize.calibration import reading
from export.quantize.embeddings import quantize_embeddings
from export.quantize.fp16 import convert_fp16
from export.quantize.int4 import quantize_int4
from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
from export.quantize.openvino import convert_openvino_int8

CALIBRATE = reading([small_encoders.inputs(rows, length) for rows, length in ((3, 9), (2, 14), (1, 5))])
CPU, GPU = resolve_target("auto"), TARGETS["cuda-sm89"]  # what is run here must be made for here
FORMS = {
    "dynamic int8": lambda source, folder, excluded: quantize_dynamic_int8(source, folder, CPU, excluded),
    "dynamic int8 by token": lambda source, folder, excluded: quantize_dynamic_int8(
        source, folder, CPU, excluded, by_token=True
    ),
    "static int8": lambda source, folder, excluded: quantize_static_int8(
        source, folder, CPU, CALIBRATE, "minmax", excluded
    ),
    "static int8 for a GPU": lambda source, folder, excluded: quantize_static_int8(
        source, folder, GPU, CALIBRATE, "minmax", excluded
    ),
    "int4": quantize_int4,
    "fp16": convert_fp16,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoders.write_onnx("bert", tmp_path_factory.mktemp("exported") / "model.onnx")


@pytest.fixture
def plain(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (all_graphs, openvino):
        monkeypatch.setattr(module, "save_companions", lambda source, folder: None)  # no tokenizer here
    shutil.copytree(exported.parent, tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


def weights(path: Path, *kinds: int) -> list[np.ndarray]:
    tensors = onnx.load(path).graph.initializer
    return [numpy_helper.to_array(tensor) for tensor in tensors if not kinds or tensor.data_type in kinds]


def distance(folder: Path, plain: Path) -> float:
    """Largest difference of the logits, as a share of their spread."""
    one, other = (small_encoders.logits(path / "model.onnx", small_encoders.inputs()) for path in (folder, plain))
    return float(np.abs(one - other).max() / np.std(one))


@pytest.mark.parametrize(("target", "largest"), [("cpu-avx2", 64), ("cpu-vnni", 127)])
def test_weights_have_seven_bits_where_the_target_has_no_vnni(target: str, largest: int, plain: Path, folder: Path):
    quantize_dynamic_int8(plain, folder, TARGETS[target])
    matrices = [
        array
        for array in weights(folder / "model.onnx", TensorProto.INT8)
        if array.ndim == 2 and array.shape[0] in (32, 64)
    ]
    assert max(int(np.abs(array.astype(int)).max()) for array in matrices) == pytest.approx(largest, abs=1)
    if not saturates(target):
        assert distance(folder, plain) < 0.2


def test_embeddings_have_a_scale_for_each_token(plain: Path, folder: Path):
    path = plain / "model.onnx"
    model = onnx.load(path)
    table = next(t for t in model.graph.initializer if t.name == "bert.embeddings.word_embeddings.weight")
    array = numpy_helper.to_array(table).copy()
    array[7] *= 100  # one loud token must not cost the others their precision
    table.CopyFrom(numpy_helper.from_array(array, table.name))
    quantised = onnx_ir.from_proto(model)
    quantize_embeddings(quantised)
    onnx_ir.save(quantised, folder / "model.onnx")
    onnx.save(model, path)
    quiet = {"input_ids": np.full((1, 4), 20), "attention_mask": np.ones((1, 4), dtype=np.int64)}
    expected = small_encoders.logits(path, quiet)
    assert np.abs(small_encoders.logits(folder / "model.onnx", quiet) - expected).max() < 0.02 * np.std(expected)
    scales = next(
        numpy_helper.to_array(t)
        for t in onnx.load(folder / "model.onnx").graph.initializer
        if t.name == "bert.embeddings.word_embeddings.weight_scale"
    )
    assert scales.shape == (50, 1)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_static_int8_for_a_gpu_is_signed_and_symmetric(method: str, plain: Path, folder: Path):
    quantize_static_int8(plain, folder, TARGETS["cuda-sm89"], CALIBRATE, method)
    graph = onnx.load(folder / "model.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) > 20
    for node in pairs:
        zero_point = numpy_helper.to_array(tensors[node.input[2]])
        assert zero_point.dtype == np.int8
        assert not zero_point.any()
    assert not any(node.op_type == "DequantizeLinear" and "bias" in node.input[0] for node in graph.node)
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}  # the rest is in half precision
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}


@pytest.mark.parametrize("form", FORMS)
def test_no_weights_are_written_that_nothing_reads(form: str, plain: Path, folder: Path):
    FORMS[form](plain, folder, ())
    (graph,) = (onnx.load(path).graph for path in folder.glob("*.onnx"))
    read = {name for node in graph.node for name in node.input}
    assert not [tensor.name for tensor in graph.initializer if tensor.name not in read]


def test_a_graph_that_no_calibration_row_reaches_is_refused(plain: Path, folder: Path):
    with pytest.raises(RejectedVariantError, match=r"model.onnx: no calibration row reaches it, as what the model wri"):
        quantize_static_int8(plain, folder, CPU, reading([]), "percentile")


def test_static_int8_for_x86_has_unsigned_activations(plain: Path, folder: Path):
    target = CPU if not CPU.signed_activations else TARGETS["cpu-vnni"]
    quantize_static_int8(plain, folder, target, CALIBRATE, "minmax")
    graph = onnx.load(folder / "model.onnx").graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    kinds = {tensors[node.input[2]].data_type for node in graph.node if node.op_type == "QuantizeLinear"}
    assert kinds == {TensorProto.UINT8}
    assert distance(folder, plain) < 0.3


@pytest.mark.parametrize("form", FORMS)
def test_weights_beside_the_graph_give_the_same_answers(
    form: str, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    answers = []
    for limit in (beside.SINGLE_FILE_LIMIT, 1000):
        monkeypatch.setattr(beside, "SINGLE_FILE_LIMIT", limit)
        source, folder = tmp_path / f"plain-{limit}", tmp_path / f"made-{limit}"
        source.mkdir()
        folder.mkdir()
        save_graph(onnx_ir.load(plain / "model.onnx"), source / "model.onnx")
        FORMS[form](source, folder, ())
        check_onnx(folder / "model.onnx")
        assert (folder / "model.onnx_data").exists() == (source / "model.onnx_data").exists() == (limit == 1000)
        answers.append(small_encoders.logits(folder / "model.onnx", small_encoders.inputs()))
    np.testing.assert_array_equal(*answers)


def test_openvino_reads_weights_beside_the_graph(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = []
    for limit in (beside.SINGLE_FILE_LIMIT, 1000):
        monkeypatch.setattr(beside, "SINGLE_FILE_LIMIT", limit)
        folder = tmp_path / f"made-{limit}"
        folder.mkdir()
        convert_openvino_int8(plain, folder, CPU, CALIBRATE, "minmax")
        assert sorted(path.name for path in folder.iterdir()) == ["openvino_model.bin", "openvino_model.xml"]
        files.append((folder / "openvino_model.bin").read_bytes())
    assert files[0] == files[1]


def test_dynamic_int8_answers_as_that_of_onnx_runtimes_own_quantiser(plain: Path, folder: Path):
    tables = [name for name in layers_in(plain) if "embeddings" in name]
    for target in (CPU, TARGETS["cpu-avx2"]):
        quantize_dynamic_int8(plain, folder, target, tables)
        options = {"op_types_to_quantize": ["MatMul"], "per_channel": True, "reduce_range": target.reduce_range}
        quantize_dynamic(plain / "model.onnx", folder / "theirs.onnx", weight_type=QuantType.QInt8, **options)
        ours, theirs = (
            small_encoders.logits(folder / name, small_encoders.inputs()) for name in ("model.onnx", "theirs.onnx")
        )
        np.testing.assert_array_equal(ours, theirs)


def stored_types(folder: Path) -> dict[str, onnx_ir.DataType]:
    """Of each layer by its name, without what ONNX Runtime puts behind it."""
    nodes = [node for node in onnx_ir.load(folder / "model.onnx").graph if weights_of(node) is not None]
    return {node.name.removesuffix("_quant").removesuffix("_Q4"): weights_of(node).const_value.dtype for node in nodes}


def test_layers_are_called_as_their_modules(plain: Path):
    layers = layers_in(plain)
    assert layers[:3] == [f"bert.embeddings.{name}_embeddings" for name in ("word", "token_type", "position")]
    assert layers[3] == "bert.encoder.layer.0.attention.self.query"
    assert layers[-2:] == ["bert.pooler.dense", "classifier"]
    assert len(layers) == 3 + 2 * 6 + 2


@pytest.mark.parametrize("form", FORMS)
def test_what_is_excluded_stays_and_nothing_else_does(form: str, plain: Path, folder: Path):
    excluded = [
        "bert.embeddings.word_embeddings",
        "bert.encoder.layer.1.output.dense",
        "bert.pooler.dense",
        "classifier",
    ]
    FORMS[form](plain, folder, excluded)
    types = stored_types(folder)
    kept = {name for name in layers_in(plain) if types[name].is_floating_point() and types[name].bitwidth == 32}
    if form == "static int8 for a GPU":  # what is not in 8 bits is in half precision there, and all tables are
        kept = {name for name in layers_in(plain) if types[name] == onnx_ir.DataType.FLOAT16}
        excluded += ["bert.embeddings.token_type_embeddings", "bert.embeddings.position_embeddings"]
    assert kept == set(excluded)
    assert distance(folder, plain) < (1 if form == "int4" else 0.3)


@pytest.mark.parametrize("form", ["dynamic int8", "static int8", "int4"])
def test_the_outputs_move_by_the_layer_that_is_quantised_alone(form: str, plain: Path, tmp_path: Path):
    layers = layers_in(plain)
    moved = {}
    for alone in (None, "bert.embeddings.word_embeddings", "bert.pooler.dense", "classifier"):
        folder = tmp_path / str(alone)
        folder.mkdir()
        FORMS[form](plain, folder, [name for name in layers if name != alone])
        moved[alone] = distance(folder, plain)
    assert moved[None] < 1e-6
    assert all(0.001 < moved[layer] < (1 if form == "int4" else 0.3) for layer in moved if layer is not None)
    assert len(set(moved.values())) == 4


def test_openvino_leaves_out_what_is_excluded(plain: Path, tmp_path: Path):
    products = {}
    for excluded in ((), ("bert.pooler.dense", "classifier")):
        folder = tmp_path / f"made-{len(excluded)}"
        folder.mkdir()
        convert_openvino_int8(plain, folder, CPU, CALIBRATE, "minmax", excluded)
        nodes = openvino_core().read_model(folder / "openvino_model.xml").get_ops()
        products[excluded] = {
            node.get_friendly_name()
            for node in nodes
            if node.get_type_name() == "MatMul"
            and node.get_friendly_name() in layers_in(plain)
            and node.input_value(1).get_node().get_type_name() == "Multiply"  # with the scale of the weights
        }
    assert len(products[()]) == 14
    assert products[()] - products["bert.pooler.dense", "classifier"] == {"bert.pooler.dense", "classifier"}


def test_a_layer_that_is_not_there_cannot_be_excluded(plain: Path, folder: Path):
    with pytest.raises(CompressError, match=r"plain: no layer is called node_linear_13; search again"):
        quantize_dynamic_int8(plain, folder, CPU, ["classifier", "node_linear_13"])


def test_products_that_stay_in_32_bits_unasked_are_named(plain: Path, folder: Path):
    model = onnx.load(plain / "model.onnx")
    for node in model.graph.node:
        if node.name in ("classifier", "bert.pooler.dense"):  # ONNX Runtime's integer products do not scale
            node.attribute.append(onnx.helper.make_attribute("alpha", 0.5))
    onnx.save(model, plain / "model.onnx")
    message = r"plain/model.onnx: quantised, bert.pooler.dense, classifier stayed in 32 bits though nobody asked for it"
    with pytest.raises(CompressError, match=message):
        quantize_dynamic_int8(plain, folder, CPU)
    assert not list(folder.iterdir())


def test_attention_stays_out_of_static_int8(plain: Path, folder: Path):
    quantize_static_int8(plain, folder, GPU, CALIBRATE, "minmax")
    graph = onnx.load(folder / "model.onnx").graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    read = [[made_by[name] for name in node.input] for node in products]
    assert read.count(["DequantizeLinear", "DequantizeLinear"]) == 14
    assert sum("DequantizeLinear" not in pair for pair in read) == 4  # queries with keys, weights with values


def test_a_graph_that_is_larger_than_its_parent_is_refused(plain: Path, folder: Path):
    def doubled(graph: Path, _: Path, kept: list[str]) -> onnx_ir.Model:
        model = onnx_ir.load(graph)
        for value in list(model.graph.initializers.values()):
            array = value.const_value.numpy().clip(-60_000, 60_000).astype(np.float16)
            for name in ("a", "b", "c"):
                copied = onnx_ir.Value(name=f"{value.name}_{name}", const_value=onnx_ir.tensor(array))
                model.graph.register_initializer(copied)
            value.const_value = onnx_ir.tensor(array)
        return model

    message = r"plain/model.onnx: quantised, its weights have [\d,]+ bytes in place of [\d,]+; leave this variant out"
    with pytest.raises(CompressError, match=message):
        all_graphs.convert_folder(plain, folder, (), doubled, nullcontext)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Graphs whose vocabulary is most of them; table and head of the decoder are the same weights."""
    torch.manual_seed(0)
    config = small_translators.CONFIGS["m2m_100"]()
    config.vocab_size = 9000  # so many that no pass unties them
    config.encoder_layers = config.decoder_layers = 1
    folder = tmp_path_factory.mktemp("translator")
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    graphs = seq2seq_graphs(model)
    save_graphs(list(graphs), graphs.__getitem__, folder)
    save_model(model, folder / "model.safetensors")
    return folder


def test_the_same_layer_has_the_same_name_in_each_graph(translator: Path):
    decoder, with_past = (
        layers_of(onnx_ir.load(translator / name)) for name in ("decoder_model.onnx", "decoder_with_past_model.onnx")
    )
    assert decoder.keys() > with_past.keys()
    assert [name for name in decoder if name not in with_past] == [
        f"model.decoder.layers.0.encoder_attn.{part}_proj" for part in ("k", "v")
    ]
    assert not decoder.keys() & layers_of(onnx_ir.load(translator / "encoder_model.onnx")).keys()


def test_the_graphs_of_a_translator_are_no_larger_than_its_pytorch_file(translator: Path):
    assert [path.name for path in graph_files(translator)][-1] == "model.onnx_data"
    assert graph_bytes(translator) < 1.1 * (translator / "model.safetensors").stat().st_size


@pytest.mark.parametrize("form", ["dynamic int8", "int4", "fp16"])
def test_tied_weights_are_one_layer_and_what_is_made_of_them_is_smaller(
    form: str, translator: Path, plain: Path, tmp_path: Path
):
    tied = layers_of(onnx_ir.load(translator / "decoder_model.onnx"))["model.decoder.embed_tokens"]
    assert [node.name for node in tied] == ["model.decoder.embed_tokens", "lm_head"]
    sizes = {}
    for excluded in ((), ("model.decoder.embed_tokens",)):
        folder = tmp_path / f"{form}-{len(excluded)}"
        folder.mkdir()
        FORMS[form](translator, folder, excluded)
        path = folder / "decoder_with_past_model.onnx"
        made, parent = (weight_bytes(onnx_ir.load(where / path.name)) for where in (folder, translator))
        sizes[excluded] = made / parent
        tables = [array for array in weights(path) if array.size >= 9000 * 32 / 2]
        apart = form == "int4" or (form == "dynamic int8" and CPU.reduce_range)  # the head has other bits
        assert len(tables) == (2 if apart and not excluded else 1)
        assert len(graph_files(folder)) == 4
        for graph in folder.glob("*.onnx"):
            check_onnx(graph)
            onnx_session(graph)
    assert sizes[()] < 0.6
    assert sizes[()] < sizes["model.decoder.embed_tokens",] < 1


def test_table_and_head_of_a_translator_are_one_table_in_int8_and_answer_as_two(
    translator: Path, plain: Path, tmp_path: Path
):
    spread = np.ptp(first_logits(translator))
    for target, tables in (("cpu-vnni", 1), ("cpu-avx2", 2)):  # the head of the second has seven bits
        folder = tmp_path / target
        folder.mkdir()
        quantize_dynamic_int8(translator, folder, TARGETS[target])
        found = weights(folder / "decoder_model.onnx", TensorProto.INT8)
        assert len([array for array in found if array.size == 9000 * 32]) == tables
        if not saturates(target):
            assert np.abs(first_logits(folder) - first_logits(translator)).max() < 0.05 * spread


def first_logits(folder: Path) -> np.ndarray:
    """What a decoder says of two tokens of two sequences."""
    generator = np.random.default_rng(0)
    feed = {
        "input_ids": generator.integers(4, 9000, (2, 2)),
        "encoder_hidden_states": generator.normal(size=(2, 5, 32)).astype(np.float32),
        "encoder_attention_mask": np.ones((2, 5), np.int64),
    }
    found: np.ndarray = onnx_session(folder / "decoder_model.onnx").run(["logits"], feed)[0]
    return found


def test_four_bits_are_for_memory(plain: Path, folder: Path):
    quantize_int4(plain, folder)
    graph = onnx.load(folder / "model.onnx").graph
    assert [node.op_type for node in graph.node].count("MatMulNBits") == 14
    assert any(tensor.name.endswith("word_embeddings.weight_int8") for tensor in graph.initializer)
    sizes = [(path / "model.onnx").stat().st_size for path in (folder, plain)]
    assert sizes[0] < 0.5 * sizes[1]


def test_half_precision_keeps_the_types_of_inputs_and_outputs(plain: Path, folder: Path):
    convert_fp16(plain, folder)
    graph = onnx.load(folder / "model.onnx").graph
    assert {value.type.tensor_type.elem_type for value in graph.output} == {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.initializer}
    assert distance(folder, plain) < 0.02
