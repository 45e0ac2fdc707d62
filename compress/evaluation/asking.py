"""Asking models of a run about its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.console import progress
from compress.evaluation.predicted import Predicted, predicted_of
from compress.models.describe import thresholds_in
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.memory import check_row
from compress.runtimes.predict import check_outputs, load_predict, predict_examples
from compress.tasks.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class AskedModel:
    """A model in memory, for people its name, and from which probability on it says each of several labels; ``folder``
    is where it came from, if that lies in the run."""

    name: str
    predict: Predict
    tokenizer: PreTrainedTokenizerBase
    thresholds: Sequence[float]
    folder: Path | None = None


def ask_stage(run: Run, stage: str, rows: Sequence[Row], labels: Sequence[str]) -> Predicted:
    """What the model of a finished stage says of rows."""
    folder = run.path_of(stage)
    predict = load_predict(folder, run.task, Search.of(run.recipe), trust_remote_code=run.trusts_code)
    model = AskedModel(stage, predict, load_tokenizer(folder, run.trusts_code), thresholds_in(folder), folder)
    return ask(run, model, rows, labels)


def ask(run: Run, model: AskedModel, rows: Sequence[Row], labels: Sequence[str]) -> Predicted:
    """What a model says of rows."""
    examples = run.task.encoder(model.tokenizer, run.recipe.data, labels)(rows)
    if model.folder:
        longest = max(len(example["input_ids"]) for example in examples)
        check_row(model.folder, run.task, longest, trust_remote_code=run.trusts_code)
    with progress() as bar:
        task = bar.add_task(f"asking the {model.name}", total=len(examples))
        outputs = predict_examples(
            model.predict,
            run.task,
            examples,
            model.tokenizer.pad_token_id,
            advance=lambda count: bar.advance(task, count),
        )
    check_outputs(model.name, outputs, "its weights are damaged, or too large; take another model, or train it again")
    how = (model.tokenizer, model.thresholds, run.recipe.teacher.embedding.compared_by)
    return predicted_of(run.task, outputs, examples, rows, labels, *how)
