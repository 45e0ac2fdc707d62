import json
from pathlib import Path

import numpy as np
import onnx_ir
import pytest
from safetensors.numpy import save_file

from bench.measure.sizes import model_files, size_on_disk
from compress.reports.bench import Size


@pytest.mark.parametrize("stage", ["student", "onnx", "onnx-fused", "onnx-int8", "onnx-fp16"])
def test_embeddings_are_what_hangs_on_the_vocabulary(finished_run: Path, stage: str):
    folder = finished_run / stage
    config = json.loads((folder / "config.json").read_text())
    weight = config["vocab_size"] * config["hidden_size"]
    bytes_each = {"onnx-int8": 1, "onnx-fp16": 2}.get(stage, 4)
    found = size_on_disk(folder, folder)
    # int8 has a scale (and a zero point) for each token besides.
    more = config["vocab_size"] * 5 if stage == "onnx-int8" else 0
    assert weight * bytes_each <= found.embeddings <= weight * bytes_each + more
    assert found.embeddings + found.rest == found.total
    assert found.total == sum(path.stat().st_size for path in model_files(folder))


def test_without_a_vocabulary_only_the_total_is_known(tmp_path: Path):
    save_file({"weight": np.zeros((10, 4), np.float32)}, tmp_path / "model.safetensors")
    found = size_on_disk(tmp_path, tmp_path)
    assert found == Size(total=(tmp_path / "model.safetensors").stat().st_size, embeddings=None, rest=None)


def test_a_file_brings_its_external_data(tmp_path: Path, finished_run: Path):
    graph = onnx_ir.load(finished_run / "onnx/model.onnx")
    onnx_ir.save(graph, tmp_path / "graph.onnx", external_data="weights.bin")
    (tmp_path / "other.bin").write_bytes(b"not ours")
    assert [path.name for path in model_files(tmp_path / "graph.onnx")] == ["graph.onnx", "weights.bin"]
