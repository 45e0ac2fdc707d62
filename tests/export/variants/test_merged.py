"""A merged decoder is kept if it writes what the two graphs write that it is made of; if not, that is said."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import small_translators
import torch

from compress.runtimes.generation import DECODER_WITH_PAST, MERGED, Search
from compress.tasks.registry import task_named
from export.onnx.merged import merge_decoders
from export.variants.merged import keep_merged_if_same
from export.variants.sample import Sample


@pytest.fixture(scope="module", params=["marian", "mt5"])
def made(request: pytest.FixtureRequest, exported_translator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A translator's graphs, and the decoders' merged one."""
    folder = tmp_path_factory.mktemp(request.param) / "onnx"
    shutil.copytree(exported_translator(request.param), folder)
    merge_decoders(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "onnx")


@pytest.fixture
def sample() -> Sample:
    generator = torch.Generator().manual_seed(0)
    lengths = (3, 9, 5, 12)
    examples = [
        {"row": row, "input_ids": torch.randint(4, small_translators.TOKENS, (length,), generator=generator).tolist()}
        for row, length in enumerate(lengths)
    ]
    return Sample(task_named("translation"), [], examples, [], SimpleNamespace(pad_token_id=0), [], Search(1, 1.0, 8))


def test_one_that_writes_the_same_is_kept(folder: Path, sample: Sample, capsys: pytest.CaptureFixture):
    keep_merged_if_same("onnx", folder, sample)
    assert (folder / MERGED).is_file()
    assert capsys.readouterr().err == ""


def test_one_that_writes_something_else_is_left_out(folder: Path, sample: Sample, capsys: pytest.CaptureFixture):
    weights = np.fromfile(folder / "model.onnx_data", np.float32)
    np.random.default_rng(0).permutation(weights).tofile(folder / "other.onnx_data")
    merged = onnx.load(folder / MERGED, load_external_data=False)
    for tensor in merged.graph.initializer:
        for entry in tensor.external_data:
            entry.value = entry.value.replace("model.onnx_data", "other.onnx_data")
    onnx.save(merged, folder / MERGED)
    keep_merged_if_same("onnx", folder, sample)
    assert not (folder / MERGED).exists()
    told = " ".join(capsys.readouterr().err.split())
    assert f"onnx: {MERGED} writes other tokens than the two graphs that it is made of, and is left out" in told


def test_one_that_cannot_be_run_is_left_out(folder: Path, sample: Sample, capsys: pytest.CaptureFixture):
    (folder / MERGED).write_bytes((folder / MERGED).read_bytes()[:100])
    keep_merged_if_same("onnx", folder, sample)
    assert not (folder / MERGED).exists()
    assert "cannot be run" in capsys.readouterr().err


def test_two_graphs_with_operators_of_different_versions_are_not_merged(folder: Path, capsys: pytest.CaptureFixture):
    (folder / MERGED).unlink()
    graph = onnx.load(folder / DECODER_WITH_PAST, load_external_data=False)
    graph.opset_import[0].version += 1
    onnx.save(graph, folder / DECODER_WITH_PAST)
    merge_decoders(folder)
    assert not (folder / MERGED).exists()
    assert "operators of different versions (20 and 21)" in " ".join(capsys.readouterr().err.split())
