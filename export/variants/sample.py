"""Real rows that variants are compared with their parents on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.data.stage import DataSet
from compress.models.describe import thresholds_in
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runtimes.generation import Search
from compress.runtimes.memory import check_row
from compress.runtimes.predict import load_predict, predict_examples
from compress.student.summary import exported_name
from compress.tasks.contract import Example, Prediction, Task
from compress.tasks.rows import Row
from export.variants.parity import Answers, log_probabilities_of_labels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_SIZE = 64


@dataclass(frozen=True)
class Sample:
    """Real rows of the validation split, drawn evenly over the languages, and all that it takes to predict them, the
    code that lies beside a model included where the run trusts it."""

    task: Task
    rows: list[Row]
    examples: list[Example]
    labels: list[str]
    tokenizer: PreTrainedTokenizerBase
    thresholds: list[float]
    search: Search
    trusts_code: bool = False
    similarity: str = "cosine"
    _of_stages: dict[Path, Answers] = field(default_factory=dict, repr=False)

    def answers_of(self, stage: Path) -> Answers:
        """What the model of a finished stage says about the rows; it is asked once, however many are made from it."""
        if stage not in self._of_stages:
            self._of_stages[stage] = self.answers(stage)
        return self._of_stages[stage]

    def remember(self, stage: Path, answers: Answers) -> None:
        """Keep what the model of a stage said while it was made."""
        self._of_stages[stage] = answers

    def answers(self, folder: Path, batch_size: int = _BATCH_SIZE) -> Answers:
        """What the model in a folder says about the rows.

        :param batch_size: Examples that are run at once.
        :raises UnavailableError: If the model needs what this machine lacks.
        """
        predict, pad_id = (
            load_predict(folder, self.task, self.search, trust_remote_code=self.trusts_code),
            self.tokenizer.pad_token_id,
        )
        longest = max(len(example["input_ids"]) for example in self.examples)
        check_row(folder, self.task, longest, vocabulary=self.task.GENERATES, trust_remote_code=self.trusts_code)
        outputs = predict_examples(predict, self.task, self.examples, pad_id, batch_size)
        predictions = self.predictions(outputs)
        if self.task.GENERATES:  # what is written differs from the first other token on: the rows' own text is rated
            outputs = log_probabilities_of_labels(folder, self.task, self.examples, pad_id, self.trusts_code)
        return Answers(outputs, predictions, labelled=bool(self.labels))

    def predictions(self, outputs: Sequence[np.ndarray]) -> list[Prediction]:
        """What a model's outputs say of the rows, as `Task.findings` has it."""
        how = (self.labels, self.tokenizer, self.thresholds)
        return self.task.findings(self.task.decode(outputs, self.examples, self.rows, *how), self.rows, self.similarity)


def draw_sample(run: Run, data: DataSet, count: int) -> Sample:
    """Draw validation rows of a run, evenly over the languages.

    :param count: How many, if there are as many.
    :raises CompressError: If there is no student of the run's present teacher, whose tokenizer reads them.
    """
    folder = run.current(exported_name(run))
    tokenizer = load_tokenizer(folder, run.trusts_code)
    chosen = list(data.splits["validation"].drawn(run.task, count, run.recipe.seed))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(chosen)
    return Sample(
        run.task,
        chosen,
        examples,
        data.labels,
        tokenizer,
        thresholds_in(folder),
        Search.of(run.recipe),
        run.trusts_code,
        run.recipe.teacher.embedding.compared_by,
    )
