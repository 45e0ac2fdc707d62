"""Inputs on which static int8 finds the ranges of its activations: real rows, evenly over languages and lengths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.batches import batches_by_length
from compress.data.encode import pad, spread_over_languages_and_lengths
from compress.data.stage import DataSet
from compress.errors import RejectedVariantError
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runtimes.generation import DECODER_WITH_PAST, OnnxDecoder, Search, generate_tokens
from compress.runtimes.onnx import onnx_session
from export.quantize.ranges import Calibrate, Inputs, WatchedSession

_BATCH_SIZE = 8


def check_calibration_rows(run: Run, data: DataSet) -> None:
    """:raises RejectedVariantError: If the rows are of one language only and the data is not."""
    settings = run.recipe.export.calibration
    present = sorted(set(data.splits[settings.split].column("lang")))
    if len(present) == 1 and len(data.languages) > 1:
        other = "validation" if settings.split == "train" else "train"
        raise RejectedVariantError(
            f"export.calibration: the {settings.split} rows are all {present[0]}, but the data has "
            f"{', '.join(data.languages)}: the ranges would fit one language; use rows of all: "
            f"--set export.calibration.split={other}"
        )


def calibration_batches(run: Run, data: DataSet, source: Path) -> Sequence[Inputs]:
    """The calibration rows in batches of like length, as a model reads them.

    :param source: Folder with the model's tokenizer.
    :raises RejectedVariantError: As `check_calibration_rows` has it.
    """
    check_calibration_rows(run, data)
    settings, rows = run.recipe.export.calibration, data.splits[run.recipe.export.calibration.split]
    languages = rows.column("lang")
    tokenizer = load_tokenizer(source, run.trusts_code)
    lengths = [sum(map(len, run.task.texts(row))) for row in rows]
    chosen = spread_over_languages_and_lengths(languages, lengths, settings.rows)
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(list(rows.select(chosen)))
    return [
        pad([examples[index] for index in indices], tokenizer.pad_token_id)
        for indices in batches_by_length(examples, _BATCH_SIZE)
    ]


def calibration_of(run: Run, data: DataSet, source: Path) -> Calibrate:
    """Shows what the graphs of a run see on its calibration rows.

    :param source: As for `calibration_batches`.
    """
    batches = calibration_batches(run, data, source)
    return translating(batches, Search.of(run.recipe, beams=1)) if len(run.task.GRAPHS) > 1 else reading(batches)


def reading(batches: Sequence[Inputs]) -> Calibrate:
    """Lets a model of one graph read batches."""

    def calibrate(_: Path, session: WatchedSession) -> None:
        for batch in batches:
            session.show(batch)

    return calibrate


def translating(batches: Sequence[Inputs], search: Search) -> Calibrate:
    """Lets the graphs of a translator translate batches, one of them watched.

    Of a decoder's steps those are shown whose number is a power of two. None is kept: each holds the keys and values of
    all tokens before it.
    """

    def calibrate(graph: Path, session: WatchedSession) -> None:
        class Watched:
            """The session in the place of the graph's own."""

            get_outputs = session.get_outputs

            def run(self, outputs: list[str] | None, inputs: Inputs) -> list[np.ndarray]:
                steps = max((array.shape[2] for name, array in inputs.items() if ".decoder." in name), default=1)
                if steps & (steps - 1) == 0:
                    session.show(inputs)
                return session.run(outputs, inputs)

        def opened(path: Path, threads: int | None) -> Any:
            return Watched() if path == graph else _OpenWhileItRuns(path, threads)

        decoder = OnnxDecoder(graph.parent, opened=opened)
        tokens = search.max_tokens if graph.name == DECODER_WITH_PAST else 1  # the others run once a text
        for batch in batches:
            generate_tokens(decoder, batch, search, tokens)
            session.close()

    return calibrate


class _OpenWhileItRuns:
    """The session of a graph that runs once a batch, before the one that is watched: together they would take more
    memory than the model's file has bytes, several times."""

    def __init__(self, path: Path, threads: int | None):
        self._path, self._threads = path, threads

    def get_outputs(self) -> Sequence[Any]:
        import onnx_ir

        return list(onnx_ir.load(self._path).graph.outputs)

    def run(self, outputs: list[str] | None, inputs: Inputs) -> list[np.ndarray]:
        found: list[np.ndarray] = onnx_session(self._path, self._threads).run(outputs, dict(inputs))
        return found
