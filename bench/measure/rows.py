"""The test rows of a measurement: their hash, and what models say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.measure.contenders import Contender
from bench.measure.protocol import PredictRequest
from bench.measure.workers import Worker
from compress.data.stage import DataSet
from compress.errors import CompressError
from compress.evaluation.predicted import Predicted, predicted_of
from compress.models.describe import thresholds_in
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runs.files import content_hash
from compress.runtimes.predict import check_outputs
from compress.tasks.rows import Row, row_as_dict


def rows_digest(rows: Sequence[Row]) -> str:
    """A hash of test rows, which two reports must share to be compared row by row."""
    return content_hash([row_as_dict(row) for row in rows])


def predict_rows(run: Run, data: DataSet, contender: Contender, worker: Worker, scratch: Path) -> Predicted:
    """What a model says of the test rows.

    :param data: Whose test rows the worker has.
    :raises CompressError: If its outputs are infinite or not a number.
    """
    file = scratch / f"{contender.name}-outputs.npz"
    worker.ask(PredictRequest(str(file)))
    with np.load(file) as found:
        outputs = [found[name] for name in found.files]
    file.unlink()
    check_outputs(contender.name, outputs, "leave it out, or make it again")
    tokenizer, rows = load_tokenizer(contender.tokenizer, contender.trusts_code), list(data.splits["test"])
    how = (tokenizer, thresholds_in(contender.tokenizer), run.recipe.teacher.embedding.compared_by)
    return predicted_of(run.task, outputs, worker.setup.examples, rows, contender.labels, *how)


def check_classes(contender: Contender, classes: int) -> None:
    """Refuse a model whose outputs are not one for each label.

    :param classes: How many its first run had.
    """
    if contender.labels and classes != len(contender.labels):
        raise CompressError(
            f"{contender.name}: {contender.model} tells {classes} classes apart, the data has {len(contender.labels)}; "
            "leave it out, or name a model for these labels"
        )
