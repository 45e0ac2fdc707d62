"""Vectors of texts: ``text`` alone, or a query with what it is to find in ``text_pair``; no labels are needed.

``label`` is a number that says how alike a pair is, or after the model was asked its own vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.metrics import vectors
from compress.metrics.metric import Metric
from compress.metrics.stored import StoredForm, kept, stored_forms
from compress.metrics.vectors import VectorFinding
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
from compress.tasks.prompts import PASSAGE, QUERY, prompt_of, prompts_by_kind
from compress.tasks.rows import Row, number_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": shared.TEXT}
AUTO_CLASS = "AutoModelForFeatureExtraction"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("sentence_embedding",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = False
SEVERAL_LABELS = False
GENERATES = False
VECTORS = True
NUMBERS = False
RANKS = False
BEST_EPOCH: TrainingMetric = "loss"
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
_WITHOUT_LABELS = (
    "data.unlabelled",
    "student.augmentation",
    "student.distillation.pivot",
    "student.vocabulary_size",
)
"""Fields that ask elsewhere for labels of rows."""
_LEARNT_ELSEWHERE = "tasks that learn labels (student.distillation.vectors says what is learnt of vectors)"
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.RANKING_ONLY,
    **{field: whose for field, whose in usual.LABELLED_ROWS_ONLY.items() if field not in _WITHOUT_LABELS},
    **usual.LABELS_ONLY,
    **usual.GENERATION_ONLY,
    "data.labelled_languages": "tasks that learn labels",
    "student.training.label_smoothing": "tasks that learn labels",
    **{f"student.distillation.{name}": _LEARNT_ELSEWHERE for name in ("alpha", "temperature", "final_temperature")},
    "student.distillation.sentences": _LEARNT_ELSEWHERE,
    "data.prefix": "tasks whose models have no prompts (data.prompts)",
    "export.variants=onnx-dynamic": "tasks whose answers are not compared with those of other batches",
}
BUILT_IN = True
SPLIT_BY: SplitBy = "text"


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, number_in)


def label_names(row: Row) -> Sequence[str]:
    return []


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """An example a text: of a pair the query's, then the passage's."""
    prompts = prompts_by_kind(settings)

    def encode(rows: Sequence[Row]) -> list[Example]:
        asked = [
            (number, text)
            for number, row in enumerate(rows)
            for own in rows_learnt(row)
            for text in [prompts[own.kind] + own.text]
        ]
        output = tokenizer(
            [text for _, text in asked], truncation=True, max_length=settings.max_length, return_attention_mask=False
        )
        return [
            {"row": number, "labels": [], **{name: output[name][index] for name in output}}
            for index, (number, _) in enumerate(asked)
        ]

    return encode


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
) -> list[Any]:
    """The vector of a row, float32 (dimensions,), of a pair both, one after the other."""
    found: list[list[np.ndarray]] = [[] for _ in rows]
    for example, output in zip(examples, outputs, strict=True):
        found[example["row"]].append(output)
    return [np.concatenate(own) for own in found]


def answered(row: Row, prediction: Any, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=[float(f"{value:.7g}") for value in prediction])


def told(prediction: Any, activation: Activation | None) -> list[float]:
    numbers: list[float] = prediction.tolist()
    return numbers


def findings(predictions: Sequence[Any], rows: Sequence[Row], similarity: str) -> list[VectorFinding]:
    """What is found with each row's vector: see `compress.metrics.vectors`."""
    all_vectors = np.stack([np.asarray(prediction, dtype=np.float32) for prediction in predictions])
    groups = [row.parallel or f"row {number}" for number, row in enumerate(rows)]
    if rows[0].text_pair is None:
        found = _of_texts(all_vectors, rows, groups, similarity)
    else:
        queries, passages = np.split(all_vectors, 2, axis=1)
        found = _of_pairs(queries, passages, rows, groups, similarity)
    if isinstance(rows[0].label, list):
        near = vectors.cosines(all_vectors, np.array([row.label for row in rows], dtype=np.float32))
        found = [replace(own, cosine=round(float(value), 6)) for own, value in zip(found, near, strict=True)]
    return found


def _of_texts(found: np.ndarray, rows: Sequence[Row], groups: Sequence[str], kind: str) -> list[VectorFinding]:
    nearest = vectors.nearest_of(found, found, kind, same=True)
    right: Sequence[float | None] = [None] * len(rows)
    if rows[0].parallel is not None:
        right = vectors.translations_found(found, groups, [row.lang for row in rows], kind)
    return [VectorFinding(int(place), translated=share) for place, share in zip(nearest, right, strict=True)]


def _of_pairs(
    queries: np.ndarray, passages: np.ndarray, rows: Sequence[Row], groups: Sequence[str], kind: str
) -> list[VectorFinding]:
    languages = [row.lang for row in rows]
    found = vectors.found_by_query(queries, passages, [(row.text, row.text_pair) for row in rows], languages, kind)
    if isinstance(rows[0].label, float):
        alike = vectors.paired_similarities(queries, passages, kind)
        return [
            VectorFinding(own.nearest, similarity=round(float(value), 6))
            for own, value in zip(found, alike, strict=True)
        ]
    if rows[0].parallel is not None:
        across = vectors.found_across(queries, passages, groups, [row.text_pair for row in rows], languages, kind)
        found = [replace(own, ranks_across=ranks or None) for own, ranks in zip(found, across, strict=True)]
    return found


findings_among = usual.as_found


def finding_as_json(finding: VectorFinding) -> dict[str, Any]:
    return {name: value for name, value in vars(finding).items() if value is not None}


def finding_of_json(content: Any) -> VectorFinding:
    return VectorFinding(**content)


def index_forms(
    predictions: Sequence[Any], rows: Sequence[Row], dimensions: Sequence[int]
) -> Iterator[tuple[StoredForm, list[np.ndarray]]]:
    """Of pairs the passages are in the index, queries are asked as they are."""
    every = np.stack([np.asarray(prediction, dtype=np.float32) for prediction in predictions])
    if rows[0].text_pair is None:
        yield from ((form, list(kept(every, form))) for form in stored_forms(every.shape[1], dimensions))
        return
    queries, passages = np.split(every, 2, axis=1)
    for form in stored_forms(passages.shape[1], dimensions):
        yield form, list(np.concatenate([queries, kept(passages, form)], axis=1))


def metrics(predictions: Sequence[VectorFinding], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    return vectors.metrics_of(predictions, [row.label for row in rows])


label_counts = usual.no_label_counts
probabilities = usual.no_probabilities
needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds


def agreed(before: Sequence[VectorFinding], after: Sequence[VectorFinding]) -> list[Agreed]:
    """Two models agree on a row where the same text is nearest to it."""
    return [[("", one.nearest == other.nearest)] for one, other in zip(before, after, strict=True)]


languages_in = usual.one_language
asking_tokens = usual.no_asking_tokens


def read_before(settings: TextSettings, lang: str) -> list[str]:
    return [prompt for prompt in dict.fromkeys(prompts_by_kind(settings).values()) if prompt]


def written_before(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, row: Row) -> str:
    return prompt_of(settings, row.kind)


def rows_learnt(row: Row) -> list[Row]:
    """The texts of a row, each as one of its own without a label: of a pair the query, then the passage."""
    if row.text_pair is None:
        return [replace(row, label="")]
    texts = ((row.text, QUERY), (row.text_pair, PASSAGE))
    return [replace(row, text=text, text_pair=None, label="", kind=kind) for text, kind in texts]


served_text = usual.plain_text
content = shared.content


def question(row: Row) -> dict[str, str]:
    """A text and, empty for the default one, the kind that names its prompt."""
    return {"TEXT": row.text, "KIND": "" if row.text_pair is None else QUERY}


def example_call(row: Row) -> str:
    return '["a text"], kind="query"'
