"""Values that half precision cannot hold, found in 32 bits: a CPU widens half precision and shows nothing."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import small_encoders
from onnx import numpy_helper

from compress.errors import CompressError
from compress.tasks.registry import task_named
from export.variants.ranges import check_half_precision


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
    assert 1 < check_half_precision("onnx-fp16", tmp_path, sample) < 1000


def test_weights_beside_a_graph_are_looked_at_too(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    inside = check_half_precision("onnx-fp16", tmp_path, sample)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
    assert check_half_precision("onnx-fp16", tmp_path, sample) == pytest.approx(inside)


def test_a_layer_that_overflows_is_named(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    scaled(path, "bert.encoder.layer.1.output.dense", 30_000)
    message = (
        r"onnx-fp16: on 8 rows bert\.encoder\.layer\.1\.output\.dense gives [\d.e+]+, but half precision "
        r"ends at 65,504: .*leave it out \(--variants\)"
    )
    with pytest.raises(CompressError, match=message):
        check_half_precision("onnx-fp16", tmp_path, sample)


def test_what_overflows_between_layers_is_named_by_the_layer_before_it(sample: SimpleNamespace, tmp_path: Path):
    path = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    model = onnx.load(path)
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == norm.input[1])
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(60_000), tensor.name))
    onnx.save(model, path)
    with pytest.raises(CompressError, match=r"on 8 rows LayerNormalization after bert\.embeddings\..+ gives"):
        check_half_precision("onnx-fp16", tmp_path, sample)
