"""What a model says depends on thresholds in some tasks: they are tuned on the validation rows, and kept with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.data.stage import load_data
from compress.data.table import RowTable
from compress.models.describe import keep_thresholds
from compress.runs.directory import Run
from compress.runtimes.predict import predict_examples
from compress.runtimes.pytorch import predict_with

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def tune_thresholds(
    run: Run, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, learnt: RowTable
) -> list[float]:
    """Put the thresholds that suit a model into its configuration, and no others.

    :param learnt: Rows like those that it has learnt from: they tell whether it needs some.
    :return: None where it needs none.
    """
    found: list[float] = []
    if run.task.needs_thresholds(learnt):
        data = load_data(run)
        rows = list(data.labelled("validation", run.recipe.data.labelled_languages))
        examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(rows)
        outputs = predict_examples(predict_with(model, run.task), run.task, examples, tokenizer.pad_token_id)
        found = run.task.thresholds(outputs, examples, rows)
    keep_thresholds(model.config, found)
    return found
