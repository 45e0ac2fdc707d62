"""Values that half precision cannot hold, found in 32 bits: a CPU widens half precision and shows nothing."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import small_encoders
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from compress.tasks.registry import task_named
from export.onnx.checks import check_onnx
from export.quantize.fp16 import convert_fp16
from export.variants.ranges import half_precision_of


@pytest.fixture(scope="module")
def sample() -> SimpleNamespace:
    feed = small_encoders.inputs(rows=8, length=12, padding=5)
    examples = [
        {"input_ids": ids[: mask.sum()].tolist(), "attention_mask": mask[: mask.sum()].tolist()}
        for ids, mask in zip(*feed.values(), strict=True)
    ]
    return SimpleNamespace(
        task=task_named("text-classification"),
        rows=examples,
        examples=examples,
        tokenizer=SimpleNamespace(pad_token_id=0),
    )


def scaled(path: Path, node_name: str, factor: float) -> None:
    """Make the weights of a layer larger."""
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.name == node_name)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name in node.input)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, path)


@pytest.mark.parametrize("name", ["bert", "modernbert", "deberta-v2"])
def test_masks_are_no_overflow(name: str, sample: SimpleNamespace, tmp_path: Path):
    small_encoders.write_onnx(name, tmp_path / "model.onnx")
    found = half_precision_of(tmp_path, sample)
    assert 1 < found.largest < 1000
    assert found.problem is None
    assert not found.exact


def test_weights_beside_a_graph_are_looked_at_too(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    inside = half_precision_of(tmp_path, sample)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
    assert half_precision_of(tmp_path, sample).largest == pytest.approx(inside.largest)


def test_a_layer_that_overflows_is_named(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    scaled(path, "bert.encoder.layer.1.output.dense", 30_000)
    found = half_precision_of(tmp_path, sample)
    assert found.largest < 1000
    assert re.fullmatch(
        r"on 8 rows bert\.encoder\.layer\.1\.output\.dense gives [\d.e+]+, where half precision ends at 65,504",
        str(found.problem),
    )


def test_what_overflows_between_layers_is_named_by_the_layer_before_it(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    with_large_residuals(path)
    problem = str(half_precision_of(tmp_path, sample).problem)
    assert problem.startswith("on 8 rows LayerNormalization after bert.embeddings.")


@pytest.mark.parametrize("what", ["layer", "residual"])
def test_what_overflows_stays_in_32_bits_and_all_else_does_not(what: str, sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    if what == "layer":
        scaled(path, "bert.encoder.layer.1.output.dense", 30_000)
    else:
        with_one_large_number(path)
    found, feed = half_precision_of(tmp_path, sample), small_encoders.inputs(rows=8, length=12, padding=5)
    graphs = {}
    (tmp_path / "config.json").write_text("{}")
    for exact in ((), found.exact):
        folder = tmp_path / f"half-{len(exact)}"
        folder.mkdir()
        convert_fp16(tmp_path, folder, exact=exact)
        graphs[len(exact)] = folder / "model.onnx"
    overflowing, kept = (calculated_in_half_precision(graph, feed) for graph in graphs.values())
    wanted = small_encoders.logits(path, feed)
    assert not np.abs(overflowing - wanted).max() < 0.05  # infinite, or cut off
    assert np.abs(kept - wanted).max() < 0.05
    check_onnx(graphs[len(found.exact)])
    halved = [tensor.data_type for tensor in onnx.load(graphs[len(found.exact)]).graph.initializer]
    assert halved.count(TensorProto.FLOAT16) > 0.6 * len(halved)


def with_large_residuals(path: Path) -> None:
    """Make what the first norm gives larger than half precision can hold."""
    model = onnx.load(path)
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == norm.input[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(60_000), tensor.name))
    onnx.save(model, path)


def with_one_large_number(path: Path) -> None:
    """Make one number of each token in the first layer larger than half precision can hold, as outliers do."""
    model = onnx.load(path)
    tensor = next(
        tensor for tensor in model.graph.initializer if tensor.name == "bert.encoder.layer.0.output.dense.bias"
    )
    bias = numpy_helper.to_array(tensor).copy()
    bias[3] = 100_000
    tensor.CopyFrom(numpy_helper.from_array(bias, tensor.name))
    onnx.save(model, path)


class GatherElements(OpRun):
    """The reference's own has an end at 64 elements."""

    def _run(self, data: np.ndarray, indices: np.ndarray, axis: int) -> tuple[np.ndarray]:
        return (np.take_along_axis(data, indices, axis),)


def calculated_in_half_precision(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    """The logits as NumPy calculates them, which widens nothing."""
    with np.errstate(all="ignore"):
        found: np.ndarray = ReferenceEvaluator(str(path), new_ops=[GatherElements]).run(["logits"], feed)[0]
    return found
