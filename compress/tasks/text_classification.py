"""Text classification, sentence pairs included: ``text`` and perhaps ``text_pair`` are text, ``label`` is a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.metrics.labels import LabelCounts
from compress.metrics.metric import Metric, accuracy, macro_f1
from compress.tasks import texts as shared
from compress.tasks import usual
from compress.tasks.contract import NO_LABEL, Encode, Example, ProblemType, SplitBy, TextSettings, TrainingMetric
from compress.tasks.rows import Row, name_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": shared.TEXT, "label": "label"}
AUTO_CLASS = "AutoModelForSequenceClassification"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = True
SEVERAL_LABELS = False
GENERATES = False
VECTORS = False
NUMBERS = False
RANKS = False
BEST_EPOCH: TrainingMetric = "accuracy"
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = {**usual.GENERATION_ONLY, **usual.VECTORS_ONLY, **usual.RANKING_ONLY}
BUILT_IN = True
SPLIT_BY: SplitBy = "text"  # of pairs the first: a premise, a query or a sentence has several others


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, name_in)


def label_names(row: Row) -> Sequence[str]:
    return [row.label] if row.label else []


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    number = {label: index for index, label in enumerate(labels)}
    return shared.text_encoder(tokenizer, settings, lambda row: [number.get(row.label, NO_LABEL)])


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
) -> list[str]:
    return [labels[int(logits.argmax())] for logits in outputs]


def answered(row: Row, prediction: str, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=prediction)


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[str], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    number = {label: index for index, label in enumerate(labels)}
    predicted = np.array([number[label] for label in predictions])
    wanted = np.array([number[row.label] for row in rows])
    return {"accuracy": accuracy(predicted, wanted), "macro-F1": macro_f1(predicted, wanted, len(labels))}


def label_counts(predictions: Sequence[str], rows: Sequence[Row], labels: Sequence[str]) -> LabelCounts | None:
    number = {label: index for index, label in enumerate(labels)}
    kinds = np.eye(len(labels), dtype=np.int8)
    found, wanted = kinds[[number[label] for label in predictions]], kinds[[number[row.label] for row in rows]]
    return LabelCounts(labels, found * wanted, found, wanted)


def probabilities(outputs: Sequence[np.ndarray]) -> np.ndarray | None:
    from scipy.special import softmax

    return np.asarray(softmax(np.stack(outputs).astype(np.float64), axis=-1))


needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds
agreed = usual.rows_agreed
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
