"""The merged decoder says what the two say that it is made of, asked as Optimum and transformers.js ask it."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_translators

from compress.runtimes.generation import DECODER, DECODER_WITH_PAST, MERGED
from compress.runtimes.onnx import onnx_session
from export.onnx.checks import check_onnx
from export.onnx.graphs import graph_bytes, graph_files, graphs_in
from export.onnx.merged import merge_decoders

ROWS, LENGTH = 2, 6


@pytest.fixture(params=["marian", "mt5"])
def folder(request, exported_translator, tmp_path: Path) -> Path:
    for path in graph_files(exported_translator(request.param)):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_a_merged_decoder_says_what_both_say_and_shares_their_weights(folder: Path):
    weights, graphs = (folder / "model.onnx_data").read_bytes(), graphs_in(folder)
    merge_decoders(folder)
    assert (folder / "model.onnx_data").read_bytes() == weights
    assert graphs_in(folder) == graphs
    assert graph_bytes(folder) == sum(path.stat().st_size for path in folder.iterdir())
    check_onnx(folder / MERGED)

    generator = np.random.default_rng(0)
    tokens = generator.integers(4, small_translators.TOKENS, (ROWS, 3))
    source = {
        "encoder_attention_mask": np.array([[1] * LENGTH, [1] * 4 + [0] * 2]),
        "encoder_hidden_states": generator.normal(size=(ROWS, LENGTH, 32)).astype(np.float32),
    }
    merged = onnx_session(folder / MERGED)
    past = {
        value.name: np.zeros((ROWS, value.shape[1], 0, value.shape[3]), np.float32)
        for value in merged.get_inputs()
        if value.name.startswith("past")
    }
    begun = asked(merged, {"input_ids": tokens[:, :2], **source, **past, "use_cache_branch": np.array([False])})
    assert_same(begun, asked(onnx_session(folder / DECODER), {"input_ids": tokens[:, :2], **source}))

    past = {name.replace("present", "past_key_values"): array for name, array in begun.items() if name != "logits"}
    given = {"input_ids": tokens[:, 2:], **source, **past}
    going_on = asked(merged, {**given, "use_cache_branch": np.array([True])})
    assert {len(array) for name, array in going_on.items() if ".encoder." in name} == {0}
    assert_same(going_on, asked(onnx_session(folder / DECODER_WITH_PAST), given))


def asked(session, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a graph says, by its outputs' names; it is given what it takes."""
    names = [value.name for value in session.get_outputs()]
    taken = {value.name: given[value.name] for value in session.get_inputs()}
    return dict(zip(names, session.run(None, taken), strict=True))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert found.keys() >= wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5)


def test_keys_and_values_are_in_the_order_in_which_optimum_takes_them(folder: Path):
    merge_decoders(folder)
    graph = onnx.load(folder / MERGED, load_external_data=False).graph
    names = [
        f"{layer}.{side}.{part}" for layer in (0, 1) for side in ("decoder", "encoder") for part in ("key", "value")
    ]
    assert [value.name for value in graph.output] == ["logits", *(f"present.{name}" for name in names)]
    assert [value.name for value in graph.input if "past" in value.name] == [
        f"past_key_values.{name}" for name in names
    ]
