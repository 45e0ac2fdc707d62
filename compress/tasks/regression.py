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
from compress.tasks.contract import (
    ENCODER_GRAPHS,
    GENERATION_ONLY,
    LABELLED_ROWS_ONLY,
    LABELS_ONLY,
    RANKING_ONLY,
    VECTORS_ONLY,
    Agreed,
    Encode,
    Example,
    ProblemType,
    SplitBy,
    TextSettings,
    TrainingMetric,
    as_predicted,
    encoder_inputs,
    no_label_counts,
    no_probabilities,
    no_thresholds,
    one_language,
    plain_text,
    without_thresholds,
)
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
GRAPHS: tuple[str, ...] = ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = {
    **RANKING_ONLY,
    **VECTORS_ONLY,
    **LABELLED_ROWS_ONLY,
    **LABELS_ONLY,
    **GENERATION_ONLY,
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


model_inputs = encoder_inputs


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


findings = as_predicted


def metrics(predictions: Sequence[float], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    found, wanted = (np.array(every, dtype=np.float64) for every in (predictions, [row.label for row in rows]))
    return {
        "CCC": concordance(found, wanted),  # models are compared by it: correlations do not see a shift
        "Pearson": pearson(found, wanted),
        "Spearman": spearman(found, wanted),
        "MAE": mean_absolute_error(found, wanted),
    }


label_counts = no_label_counts
probabilities = no_probabilities
needs_thresholds = without_thresholds
thresholds = no_thresholds


def agreed(before: Sequence[float], after: Sequence[float]) -> list[Agreed]:
    """Numbers are the same up to a tenth of the standard deviation of what the first model predicts."""
    return [[("", same)] for same in alike(before, after)]


languages_in = one_language
question = shared.question
served_text = plain_text
example_call = shared.example_call
content = shared.content
