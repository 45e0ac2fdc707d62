"""Scores of passages for queries: ``text`` is the query, ``text_pair`` the passage, ``label`` how relevant it is.

Labels are 0 and 1, or more grades, or after the model was asked its own scores. Rows of the same query and language
belong together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.metrics.metric import Metric
from compress.metrics.ranking import RankFinding, agreement_metrics, ranked, ranking_metrics
from compress.tasks import texts as shared
from compress.tasks import usual
from compress.tasks.contract import (
    Activation,
    Agreed,
    Encode,
    Example,
    ProblemType,
    SplitBy,
    TextSettings,
    TrainingMetric,
)
from compress.tasks.rows import Row, number_in, query_of

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
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
_OF_RANKINGS_TOO = ("teacher.predictions", "student.vocabulary_size")
"""Fields that ask elsewhere for one label a row."""
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.VECTORS_ONLY,
    **{field: whose for field, whose in usual.LABELLED_ROWS_ONLY.items() if field not in _OF_RANKINGS_TOO},
    **usual.LABELS_ONLY,
    **usual.GENERATION_ONLY,
    "student.kind=static": "tasks that read one text: a query's tokens would be mixed with its passage's",
    "export.variants=onnx-dynamic": "tasks whose answers are not compared with those of other batches",
    "teacher.training.label_smoothing": "labels",
    "student.training.label_smoothing": "labels",
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text"  # a query's passages stay together


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


model_inputs = usual.encoder_inputs


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


def told(prediction: float, activation: Activation | None) -> float:
    return activated(prediction, activation) if activation else prediction


def findings(predictions: Sequence[float], rows: Sequence[Row], similarity: str) -> list[RankFinding]:
    return ranked(predictions, [query_of(row) for row in rows])


def findings_among(findings: Sequence[RankFinding], rows: Sequence[Row]) -> list[RankFinding]:
    return ranked([found.score for found in findings], [query_of(row) for row in rows])


def finding_as_json(finding: RankFinding) -> dict[str, Any]:
    return dict(vars(finding))


def finding_of_json(content: Any) -> RankFinding:
    return RankFinding(**content)


index_forms = usual.no_index_forms


def metrics(predictions: Sequence[RankFinding], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    scores, queries = np.array([found.score for found in predictions]), [query_of(row) for row in rows]
    if isinstance(rows[0].label, list):  # the model's own scores
        return agreement_metrics(scores, np.array([row.label[0] for row in rows]), queries)
    return ranking_metrics(scores, np.array([row.label for row in rows]), queries)


label_counts = usual.no_label_counts
probabilities = usual.no_probabilities
needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds


def agreed(before: Sequence[RankFinding], after: Sequence[RankFinding]) -> list[Agreed]:
    """Two models agree on a query where the same passage is the first."""
    return [[("", other.rank == 1)] if one.rank == 1 else [] for one, other in zip(before, after, strict=True)]


languages_in = usual.one_language
read_before = usual.prefix_alone
written_before = usual.prefix_before
asking_tokens = usual.no_asking_tokens
rows_learnt = usual.row_alone
question = shared.question
served_text = usual.plain_text


def example_call(row: Row) -> str:
    return '"a query", ["a passage", "another"]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    return {FIELDS["text"]: text, FIELDS["text_pair"]: text_pair}
