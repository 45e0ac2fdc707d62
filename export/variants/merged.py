"""Whether the merged decoder of a translator writes what its two graphs write: our own runtime never opens it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from compress.console import say
from compress.errors import first_line
from compress.runtimes.generation import (
    ENCODER,
    MERGED,
    Decoder,
    OnnxDecoder,
    Search,
    State,
    Tokens,
    generate_tokens,
)
from compress.runtimes.onnx import onnx_session
from compress.runtimes.predict import predict_examples
from export.variants.sample import Sample

_ROWS, _TOKENS = 16, 32


class MergedDecoder:
    """The encoder and the merged decoder, asked as Optimum and transformers.js ask them."""

    def __init__(self, folder: Path):
        self._encoder, self._both = (onnx_session(folder / name) for name in (ENCODER, MERGED))
        self._outputs = [value.name for value in self._both.get_outputs()]
        self._caches = {value.name: value for value in self._both.get_inputs() if value.name.startswith("past")}
        self.tokens = Tokens.of(json.loads((folder / "config.json").read_text("utf-8")))

    def begin(self, inputs: Mapping[str, np.ndarray], prompt: np.ndarray, beams: int = 1) -> tuple[np.ndarray, State]:
        """Read the sources and the first target tokens, with keys and values of none before."""
        prompt, ids, mask = (
            np.repeat(array, beams, axis=0) for array in (prompt, inputs["input_ids"], inputs["attention_mask"])
        )
        (states,) = self._encoder.run(None, {"input_ids": ids, "attention_mask": mask})
        sizes = {name: (len(prompt), value.shape[1], 0, value.shape[3]) for name, value in self._caches.items()}
        none = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
        return self._asked(prompt, {"encoder_attention_mask": mask, "encoder_hidden_states": states, **none}, False)

    def step(self, last: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Read one more token of each sequence."""
        logits, state = self._asked(last, state, True)
        return logits[:, -1], state

    def reordered(self, state: State, origins: np.ndarray) -> State:
        """Nothing here searches with beams."""
        raise NotImplementedError

    def _asked(self, tokens: np.ndarray, state: State, goes_on: bool) -> tuple[np.ndarray, State]:
        given = {"input_ids": tokens, **state, "use_cache_branch": np.array([goes_on])}
        taken = {value.name: given[value.name] for value in self._both.get_inputs()}
        said = dict(zip(self._outputs, self._both.run(None, taken), strict=True))
        present = {name.replace("present", "past_key_values", 1): array for name, array in said.items()}
        # Keys and values of the source are given back once: afterwards there are none of them.
        new = {name: present[name] for name in self._caches if not (goes_on and ".encoder." in name)}
        return said["logits"], {**state, **new}


def keep_merged_if_same(name: str, folder: Path, sample: Sample) -> None:
    """Let some rows be translated by the two graphs and by the merged one, and delete that if it writes other tokens.

    :param name: Of the variant, for people.
    :param folder: Where no merged decoder is, nothing is done.
    """
    if not (folder / MERGED).is_file():
        return
    try:
        same = _written(OnnxDecoder(folder), sample) == _written(MergedDecoder(folder), sample)
        reason = "writes other tokens than the two graphs that it is made of"
    except Exception as error:  # of ONNX Runtime, whose exceptions share no public base class
        same, reason = False, f"cannot be run ({first_line(error)})"
    if not same:
        (folder / MERGED).unlink()
        say(f"{name}: {MERGED} {reason}, and is left out; clients that take two decoders are served")


def _written(decoder: Decoder, sample: Sample) -> list[list[int]]:
    """Tokens of each row, without beams, up to the end."""
    search = Search(1, 1.0, _TOKENS)
    generate = partial(generate_tokens, decoder, search=search, max_tokens=_TOKENS)
    found = predict_examples(generate, sample.task, sample.examples[:_ROWS], sample.tokenizer.pad_token_id)
    return [row[row != decoder.tokens.pad].tolist() for row in found]
