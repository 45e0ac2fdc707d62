"""Translating with the exported graphs gives what `generate` of transformers gives, token by token."""

import numpy as np
import pytest
from small_translators import CONFIGS, END, PAD, TOKENS
from transformers import AutoModelForSeq2SeqLM

from compress.runtimes.generation import (
    DECODER,
    DECODER_WITH_PAST,
    ENCODER,
    OnnxDecoder,
    Search,
    generate_tokens,
    generator_with,
    largest_places,
    log_probabilities,
    most_likely,
)

ROWS, LENGTH = 24, 12


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request, exported_translator):
    """A model and its graphs."""
    folder = exported_translator(request.param)
    return AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), folder


def padded_sources(prompt: bool) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    mask = (np.arange(LENGTH)[None] < LENGTH - np.arange(ROWS)[:, None] % 9).astype(np.int64)
    ids = generator.integers(4, TOKENS, (ROWS, LENGTH)) * mask
    return {"input_ids": ids, "attention_mask": mask, **({"prompt": np.full((ROWS, 1), 9)} if prompt else {})}


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize(("beams", "length_penalty"), [(1, 1.0), (2, 1.0), (4, 0.6)])
def test_the_graphs_write_what_pytorch_writes(exported, prompt: bool, beams: int, length_penalty: float):
    model, folder = exported
    search, inputs = Search(beams, length_penalty, 20), padded_sources(prompt)
    expected = generator_with(model, search)(inputs)
    found = generate_tokens(OnnxDecoder(folder), inputs, search, search.max_tokens)
    assert found.tolist() == expected.tolist()
    assert prompt or (expected == END).any()
    for row in expected.tolist():
        assert END not in row or set(row[row.index(END) + 1 :]) <= {PAD}


def test_fewer_tokens_can_be_asked_for(exported):
    model, folder = exported
    search, inputs = Search(1, 1.0, 20), padded_sources(False)
    first = generate_tokens(OnnxDecoder(folder), inputs, search, 1)
    assert first.shape == (ROWS, 1)
    assert first.tolist() == generator_with(model, search)(inputs, max_tokens=1).tolist()


def test_inputs_and_outputs_are_named_as_optimum_names_them(exported):
    import onnx

    _, folder = exported
    names = {}
    for file in (ENCODER, DECODER, DECODER_WITH_PAST):
        graph = onnx.load(folder / file).graph
        names[file] = [value.name for value in graph.input], [value.name for value in graph.output]
        onnx.checker.check_model(folder / file)
    assert names[ENCODER] == (["input_ids", "attention_mask"], ["last_hidden_state"])
    inputs, outputs = names[DECODER]
    assert set(inputs) == {"input_ids", "encoder_hidden_states", "encoder_attention_mask"}
    cached = [
        f"{layer}.{side}.{part}" for layer in (0, 1) for side in ("decoder", "encoder") for part in ("key", "value")
    ]
    assert outputs == ["logits", *(f"present.{name}" for name in cached)]  # Optimum takes them in fours, by their order
    inputs, outputs = names[DECODER_WITH_PAST]
    assert {*inputs[:2]} == {"input_ids", "encoder_attention_mask"}
    assert inputs[2:] == [f"past_key_values.{name}" for name in cached]
    assert outputs == ["logits", *(f"present.{name}" for name in cached if ".decoder." in name)]


@pytest.mark.parametrize("tokens", [5, 14, 577, 6000])
@pytest.mark.parametrize("count", [1, 4])
def test_the_most_likely_of_many_tokens_are_found_without_sorting_them(tokens: int, count: int):
    logits = np.random.default_rng(0).normal(size=(3, tokens)).astype(np.float32)
    order = np.argsort(-logits, axis=1)[:, :count]
    assert largest_places(logits, count).tolist() == order.tolist()
    expected = log_probabilities(logits)
    pad = int(order[0, 0])
    expected[:, pad] = -np.inf
    order = np.argsort(-expected, axis=1)[:, :count]
    places, values = most_likely(logits, count, pad)
    assert places.tolist() == order.tolist()
    assert values.tolist() == np.take_along_axis(expected, order, axis=1).tolist()
