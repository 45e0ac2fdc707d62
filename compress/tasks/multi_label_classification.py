"""Classification of texts or pairs that may have several labels, or none: ``labels`` is a list of names.

Each label is a question of its own, said or not said: to the losses it is a position with these two classes, which
makes cross-entropy the binary one, and soft loss that of independent probabilities (Yang et al., 2023).
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import CompressError
from compress.metrics.labels import LabelCounts
from compress.metrics.metric import Metric, f1_of_counts, macro_f1_of_counts
from compress.tasks import texts as shared
from compress.tasks import usual
from compress.tasks.contract import (
    NO_LABEL,
    Agreed,
    Encode,
    Example,
    ProblemType,
    SplitBy,
    TextSettings,
    TrainingMetric,
)
from compress.tasks.rows import Row, normalised, value_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": shared.TEXT, "label": "labels"}
AUTO_CLASS = "AutoModelForSequenceClassification"
PROBLEM_TYPE: ProblemType | None = "multi_label_classification"
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = False
SEVERAL_LABELS = True
GENERATES = False
VECTORS = False
NUMBERS = False
RANKS = False
BEST_EPOCH: TrainingMetric = "loss"
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.RANKING_ONLY,
    **usual.LABELLED_ROWS_ONLY,
    **usual.GENERATION_ONLY,
    **usual.VECTORS_ONLY,
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text"

_UNTUNED = 0.5
_FEWEST = 10
"""Rows with a label whose threshold is tuned: of fewer the best one is chance."""
_NEAREST = 1e-6
"""How near to 0 and 1 a threshold may be."""


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, _names)


def _names(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> list[str]:
    value, field = value_in(place, content, columns, role), columns[role]
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(map(_is_name, value)):
        raise CompressError(
            f"{place}: field '{field}' must be a list of names, empty where no label holds, got {reprlib.repr(value)}"
        )
    names = sorted(normalised(place, field, str(part)).strip() for part in value)
    double = next((name for name, other in pairwise(names) if name == other), None)
    if double is not None:
        raise CompressError(
            f"{place}: field '{field}' has '{double}' twice; it lists the names of the labels that hold, each once"
        )
    return names


def _is_name(part: Any) -> bool:
    return isinstance(part, str | int) and not isinstance(part, bool) and bool(str(part).strip())


def label_names(row: Row) -> Sequence[str]:
    return [*row.label]


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    def targets(row: Row) -> list[int]:
        if row.label == "":
            return [NO_LABEL] * len(labels)
        return [int(label in row.label) for label in labels]

    return shared.text_encoder(tokenizer, settings, targets)


model_inputs = usual.encoder_inputs


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    import torch

    return torch.stack([torch.zeros_like(outputs), outputs], dim=-1)


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[list[str]]:
    least = np.array(thresholds or [_UNTUNED] * len(labels))
    said = (_sigmoid(np.stack(outputs)) >= least).tolist()
    return [[label for label, holds in zip(labels, row, strict=True) if holds] for row in said]


def answered(row: Row, prediction: list[str], thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=prediction)


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[list[str]], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    """F1 of all labels together, and the mean F1 of the labels."""
    counts = label_counts(predictions, rows, labels)
    together = np.stack([part.sum(axis=1) for part in (counts.right, counts.found, counts.wanted)], axis=1)
    macro = macro_f1_of_counts(counts.right, counts.found + counts.wanted)
    return {"micro-F1": f1_of_counts(together.tolist()), "macro-F1": macro}


def label_counts(predictions: Sequence[list[str]], rows: Sequence[Row], labels: Sequence[str]) -> LabelCounts:
    found, wanted = (
        np.array([[label in said for label in labels] for said in every], dtype=np.int32)
        for every in (predictions, [row.label for row in rows])
    )
    return LabelCounts(labels, found * wanted, found, wanted)


def probabilities(outputs: Sequence[np.ndarray]) -> np.ndarray | None:
    return _sigmoid(np.stack(outputs))


def needs_thresholds(rows: Iterable[Row]) -> bool:
    return True


def thresholds(outputs: Sequence[np.ndarray], examples: Sequence[Example], rows: Sequence[Row]) -> list[float]:
    """For each label the threshold of the highest F1 on these rows, half-way to the next probability; 0.5 where none is
    better, or too few rows have the label."""
    found, wanted = _sigmoid(np.stack(outputs)), np.array([example["labels"] for example in examples])
    return [_best_threshold(found[:, place], wanted[:, place] == 1) for place in range(found.shape[1])]


def _best_threshold(found: np.ndarray, wanted: np.ndarray) -> float:
    if wanted.sum() < _FEWEST:
        return _UNTUNED
    order = np.argsort(-found, kind="stable")
    descending = np.append(found[order], 0.0)
    f1 = 2 * wanted[order].cumsum() / (np.arange(1, len(order) + 1) + wanted.sum())
    f1[descending[1:] == descending[:-1]] = 0  # rows of one probability are said together
    said, best = int((found >= _UNTUNED).sum()), int(f1.argmax())
    if said and f1[said - 1] >= f1[best]:
        return _UNTUNED
    half_way = (descending[best] + descending[best + 1]) / 2
    return round(float(np.clip(half_way, _NEAREST, 1 - _NEAREST)), 6)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return np.asarray(expit(logits.astype(np.float64)))


def agreed(before: Sequence[list[str]], after: Sequence[list[str]]) -> list[Agreed]:
    """Of each label that either says of a row, whether the other does too."""
    return [
        [(label, label in one and label in other) for label in sorted({*one, *other})]
        for one, other in zip(before, after, strict=True)
    ]


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
