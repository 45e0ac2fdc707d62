"""Scores of passages for queries: ``text`` is the query, ``text_pair`` the passage, ``label`` how relevant it is.

Labels are 0 and 1, or more grades, or after the model was asked its own scores. Rows of the same query and language
belong together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from compress.metrics.metric import Metric
from compress.metrics.ranking import agreement_metrics, ranking_metrics, ranks_within
from compress.tasks import texts as shared
from compress.tasks.contract import (
    ENCODER_GRAPHS,
    GENERATION_ONLY,
    LABELLED_ROWS_ONLY,
    LABELS_ONLY,
    VECTORS_ONLY,
    Agreed,
    Encode,
    Example,
    ProblemType,
    SplitBy,
    TextSettings,
    TrainingMetric,
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


FIELDS: Mapping[str, str] = {"text": "query", "text_pair": "passage", "label": "label"}
AUTO_CLASS = "AutoModelForSequenceClassification"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = False
SEVERAL_LABELS = False
GENERATES = False
VECTORS = False
NUMBERS = True
RANKS = True
BEST_EPOCH: TrainingMetric = "loss"
GRAPHS: tuple[str, ...] = ENCODER_GRAPHS
_OF_RANKINGS_TOO = ("teacher.predictions", "student.vocabulary_size")
"""Fields that ask elsewhere for one label a row."""
REFUSED_FIELDS: Mapping[str, str] = {
    **VECTORS_ONLY,
    **{field: whose for field, whose in LABELLED_ROWS_ONLY.items() if field not in _OF_RANKINGS_TOO},
    **LABELS_ONLY,
    **GENERATION_ONLY,
    "student.kind=static": "tasks that read one text: a query's tokens would be mixed with its passage's",
    "teacher.training.label_smoothing": "labels",
    "student.training.label_smoothing": "labels",
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text"  # a query's passages stay together
Activation = Literal["sigmoid", "identity"]
"""What makes a score of a model's output; neither changes a ranking."""
SCORE, RANK = "score", "rank"
"""What is kept of a row: its score, and its place among those of its query."""


def query_of(row: Row) -> tuple[str, str]:
    """What rows of the same query share."""
    return row.lang, row.text


def activated(output: float, activation: Activation) -> float:
    """The score of a passage, as those who ask a model are given it."""
    if activation == "identity":
        return output
    return 1 / (1 + math.exp(-output)) if output >= 0 else math.exp(output) / (1 + math.exp(output))


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, number_in)


def label_names(row: Row) -> Sequence[str]:
    return []


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """Labels are the probability that a passage is relevant: grades above 1 are learnt as 1."""

    def probability(row: Row) -> list[float]:
        return [min(max(row.label, 0.0), 1.0) if isinstance(row.label, float) else math.nan]

    return shared.text_encoder(tokenizer, settings, probability)


model_inputs = encoder_inputs


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    """Logits of "not relevant" and "relevant": the loss on labels is binary cross-entropy."""
    import torch

    return torch.stack([torch.zeros_like(outputs), outputs], dim=-1)


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[float]:
    """Scores before the activation, which changes no ranking."""
    return [float(output[0]) for output in outputs]


def answered(row: Row, prediction: float, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=[prediction])


def findings(predictions: Sequence[float], rows: Sequence[Row], similarity: str) -> list[dict[str, Any]]:
    """The score and rank of each row."""
    return _findings(predictions, rows)


def _findings(predictions: Sequence[float], rows: Sequence[Row]) -> list[dict[str, Any]]:
    ranks = ranks_within(np.array(predictions, dtype=np.float64), [query_of(row) for row in rows])
    return [{SCORE: float(f"{score:.7g}"), RANK: rank} for score, rank in zip(predictions, ranks, strict=True)]


def found_among(findings: Sequence[Any], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The findings of some rows, with the ranks that they have among these."""
    return _findings([found[SCORE] for found in findings], rows)


def metrics(predictions: Sequence[Any], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    scores, queries = np.array([found[SCORE] for found in predictions]), [query_of(row) for row in rows]
    if isinstance(rows[0].label, list):  # the model's own scores
        return agreement_metrics(scores, np.array([row.label[0] for row in rows]), queries)
    return ranking_metrics(scores, np.array([row.label for row in rows]), queries)


label_counts = no_label_counts
probabilities = no_probabilities
needs_thresholds = without_thresholds
thresholds = no_thresholds


def agreed(before: Sequence[Any], after: Sequence[Any]) -> list[Agreed]:
    """Two models agree on a query where the same passage is the first."""
    pairs = zip(before, after, strict=True)
    return [[("", other[RANK] == 1)] if one[RANK] == 1 else [] for one, other in pairs]


languages_in = one_language
question = shared.question
served_text = plain_text


def example_call(row: Row) -> str:
    return '"a query", ["a passage", "another"]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    return {FIELDS["text"]: text, FIELDS["text_pair"]: text_pair}
