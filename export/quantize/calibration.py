"""Inputs on which static int8 finds the ranges of its activations: real rows, evenly over languages and lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.batches import batches_by_length
from compress.data.encode import pad, spread_over_languages_and_lengths
from compress.data.stage import DataSet
from compress.errors import RejectedVariantError
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runtimes.generation import OnnxDecoder, Search, generate_tokens
from compress.runtimes.onnx import onnx_session
from export.quantize.int8 import Feeds

_BATCH_SIZE = 8


def calibration_feeds(run: Run, data: DataSet, source: Path) -> Feeds:
    """What the graphs of a folder are fed with on the calibration rows.

    :param source: Folder with plain graphs and a tokenizer.
    :raises RejectedVariantError: If the rows are of one language only and the data is not.
    """
    settings, rows = run.recipe.export.calibration, data.splits[run.recipe.export.calibration.split]
    languages = rows.column("lang")
    present = sorted(set(languages))
    if len(present) == 1 and len(data.languages) > 1:
        other = "validation" if settings.split == "train" else "train"
        raise RejectedVariantError(
            f"export.calibration: the {settings.split} rows are all {present[0]}, but the data has "
            f"{', '.join(data.languages)}: the ranges would fit one language; use rows of all: "
            f"--set export.calibration.split={other}"
        )
    tokenizer = load_tokenizer(source, run.trusts_code)
    lengths = [sum(map(len, run.task.texts(row))) for row in rows]
    chosen = spread_over_languages_and_lengths(languages, lengths, settings.rows)
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(list(rows.select(chosen)))
    batches = [
        pad([examples[index] for index in indices], tokenizer.pad_token_id)
        for indices in batches_by_length(examples, _BATCH_SIZE)
    ]
    if len(run.task.GRAPHS) > 1:
        return recorded_feeds(source, batches, Search.of(run.recipe, beams=1))
    (graph,) = run.task.GRAPHS
    accepted = {value.name for value in onnx_session(source / graph).get_inputs()}
    return {graph: [{name: batch[name] for name in accepted} for batch in batches]}


def recorded_feeds(source: Path, batches: Sequence[dict[str, np.ndarray]], search: Search) -> Feeds:
    """What a translator's encoder and decoders are fed with while they translate.

    Of a decoder's steps those whose number is a power of two are kept: each holds the keys and values of all tokens
    before it.
    """
    feeds: dict[str, list[dict[str, np.ndarray]]] = {}

    class Recorder:
        """A session that keeps its inputs."""

        def __init__(self, path: Path, threads: int | None):
            self._session, self._kept = onnx_session(path, threads), feeds.setdefault(path.name, [])
            self.get_outputs: Callable[[], Any] = self._session.get_outputs

        def run(self, outputs: list[str] | None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            steps = max((array.shape[2] for name, array in inputs.items() if ".decoder." in name), default=1)
            if steps & (steps - 1) == 0:
                self._kept.append(dict(inputs))
            found: list[np.ndarray] = self._session.run(outputs, inputs)
            return found

    decoder = OnnxDecoder(source, opened=Recorder)
    for batch in batches:
        generate_tokens(decoder, batch, search, search.max_tokens)
    return feeds
