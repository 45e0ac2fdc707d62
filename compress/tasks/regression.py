"""Numbers of texts or pairs (similarity, quality, a rating): ``label`` is a number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.metrics.metric import Metric
from compress.metrics.numbers import alike, concordance, mean_absolute_error, pearson, spearman
from compress.tasks import texts as shared
from compress.tasks import usual
from compress.tasks.contract import Agreed, Encode, Example, ProblemType, SplitBy, TextSettings, TrainingMetric
from compress.tasks.rows import Row, number_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": shared.TEXT, "label": "label"}
AUTO_CLASS = "AutoModelForSequenceClassification"
PROBLEM_TYPE: ProblemType | None = "regression"
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = False
SEVERAL_LABELS = False
GENERATES = False
VECTORS = False
NUMBERS = True
RANKS = False
BEST_EPOCH: TrainingMetric = "loss"
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.RANKING_ONLY,
    **usual.VECTORS_ONLY,
    **usual.LABELLED_ROWS_ONLY,
    **usual.LABELS_ONLY,
    **usual.GENERATION_ONLY,
    "teacher.training.label_smoothing": "labels",
    "student.training.label_smoothing": "labels",
    "student.distillation.temperature": "labels",
    "student.distillation.final_temperature": "labels",
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text"


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, number_in)


def label_names(row: Row) -> Sequence[str]:
    return []


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    return shared.text_encoder(tokenizer, settings, lambda row: [math.nan if row.label == "" else row.label])


model_inputs = usual.encoder_inputs


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    return outputs[:, None]


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[float]:
    return [float(output[0]) for output in outputs]


def answered(row: Row, prediction: float, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=prediction)


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[float], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    found, wanted = (np.array(every, dtype=np.float64) for every in (predictions, [row.label for row in rows]))
    return {
        "CCC": concordance(found, wanted),  # models are compared by it: correlations do not see a shift
        "Pearson": pearson(found, wanted),
        "Spearman": spearman(found, wanted),
        "MAE": mean_absolute_error(found, wanted),
    }


label_counts = usual.no_label_counts
probabilities = usual.no_probabilities
needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds


def agreed(before: Sequence[float], after: Sequence[float]) -> list[Agreed]:
    """Numbers are the same up to a tenth of the standard deviation of what the first model predicts."""
    return [[("", same)] for same in alike(before, after)]


languages_in = usual.one_language
read_before = usual.prefix_alone
written_before = usual.prefix_before
asking_tokens = usual.no_asking_tokens
rows_learnt = usual.row_alone
told = usual.told_as_it_is
question = shared.question
served_text = usual.plain_text
example_call = shared.example_call
content = shared.content
