"""Real rows that variants are compared with their parents on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet
from compress.models.load import load_tokenizer
from compress.runs.directory import Run
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict, predict_examples
from compress.tasks.contract import Example, Task
from compress.tasks.rows import Row
from export.variants.parity import Answers, log_probabilities_of_labels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sample:
    """Real rows for parity, drawn evenly over the languages from the validation split."""

    task: Task
    rows: list[Row]
    examples: list[Example]
    labels: list[str]
    tokenizer: PreTrainedTokenizerBase
    search: Search

    def answers(self, folder: Path) -> Answers:
        """What the model in a folder says about the rows."""
        predict, pad_id = load_predict(folder, self.task, self.search), self.tokenizer.pad_token_id
        outputs = predict_examples(predict, self.task, self.examples, pad_id)
        predictions = self.task.decode(outputs, self.examples, self.rows, self.labels, self.tokenizer)
        if self.task.GENERATES:  # what is written differs from the first other token on: the rows' own text is rated
            outputs = log_probabilities_of_labels(folder, self.task, self.examples, pad_id)
        return Answers(outputs, predictions)


def _sample(run: Run, data: DataSet) -> Sample:
    tokenizer = load_tokenizer(str(run.path_of("student")))
    rows = data.splits["validation"]
    chosen = spread_over_languages(rows.column("lang"), run.recipe.export.parity.rows, run.recipe.seed)
    sample = list(rows.select(chosen))
    examples = run.task.encoder(tokenizer, run.recipe.data, data.labels)(sample)
    return Sample(run.task, sample, examples, data.labels, tokenizer, Search.of(run.recipe))
