"""Vectors of texts: ``text`` alone, or a query with what it is to find in ``text_pair``; no labels are needed.

``label`` is a number that says how alike a pair is, or after the model was asked its own vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import CompressError
from compress.metrics import vectors
from compress.metrics.metric import Metric
from compress.metrics.stored import StoredForm, kept
from compress.tasks import texts as shared
from compress.tasks.contract import (
    ENCODER_GRAPHS,
    GENERATION_ONLY,
    LABELLED_ROWS_ONLY,
    LABELS_ONLY,
    RANKING_ONLY,
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
GRAPHS: tuple[str, ...] = ENCODER_GRAPHS
_WITHOUT_LABELS = (
    "data.unlabelled",
    "student.augmentation",
    "student.distillation.pivot",
    "student.vocabulary_size",
)
"""Fields that ask elsewhere for labels of rows."""
_LEARNT_ELSEWHERE = "tasks that learn labels (student.distillation.vectors says what is learnt of vectors)"
REFUSED_FIELDS: Mapping[str, str] = {
    **RANKING_ONLY,
    **{field: whose for field, whose in LABELLED_ROWS_ONLY.items() if field not in _WITHOUT_LABELS},
    **LABELS_ONLY,
    **GENERATION_ONLY,
    "data.labelled_languages": "tasks that learn labels",
    "student.training.label_smoothing": "tasks that learn labels",
    **{f"student.distillation.{name}": _LEARNT_ELSEWHERE for name in ("alpha", "temperature", "final_temperature")},
    "student.distillation.sentences": _LEARNT_ELSEWHERE,
    "data.prefix": "tasks whose models have no prompts (data.prompts)",
}
BUILT_IN = True
SPLIT_BY: SplitBy = "text"
QUERY, PASSAGE = "query", "passage"
_PASSAGE_NAMES = (PASSAGE, "document", "corpus")
"""What models call the prompt of what is to be found."""


def prompt_of(settings: TextSettings, kind: str | None) -> str:
    """What stands before a text of a kind: a model that has no prompt for queries or passages has its default one.

    :raises CompressError: If there is no such prompt.
    """
    prompts = settings.prompts or {}
    named = next((name for name in (_PASSAGE_NAMES if kind == PASSAGE else (kind,)) if name in prompts), None)
    if named:
        return prompts[named]
    if kind not in (None, QUERY, PASSAGE):
        raise CompressError(f"kind {kind!r}: there is no such prompt; there is {', '.join(sorted(prompts)) or 'none'}")
    return prompts.get(settings.default_prompt, "") if settings.default_prompt else ""


def alone(row: Row) -> list[Row]:
    """The texts of a row, each as one of its own without a label: of a pair the query, then the passage."""
    if row.text_pair is None:
        return [replace(row, label="")]
    texts = ((row.text, QUERY), (row.text_pair, PASSAGE))
    return [replace(row, text=text, text_pair=None, label="", kind=kind) for text, kind in texts]


def prompts_before(settings: TextSettings) -> list[str]:
    """What stands before texts, of one kind or another."""
    found = (prompt_of(settings, kind) for kind in (None, QUERY, PASSAGE))
    return [prompt for prompt in dict.fromkeys(found) if prompt]


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return shared.text_row(place, content, columns, number_in)


def label_names(row: Row) -> Sequence[str]:
    return []


texts = shared.texts


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """An example a text: of a pair the query's, then the passage's."""
    prompts = {kind: prompt_of(settings, kind) for kind in (None, QUERY, PASSAGE)}

    def encode(rows: Sequence[Row]) -> list[Example]:
        asked = [
            (number, text)
            for number, row in enumerate(rows)
            for own in alone(row)
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
) -> list[Any]:
    """The vector of a row, float32 (dimensions,), of a pair both, one after the other."""
    found: list[list[np.ndarray]] = [[] for _ in rows]
    for example, output in zip(examples, outputs, strict=True):
        found[example["row"]].append(output)
    return [np.concatenate(own) for own in found]


def answered(row: Row, prediction: Any, thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=[float(f"{value:.7g}") for value in prediction])


def in_index(predictions: Sequence[Any], rows: Sequence[Row], form: StoredForm) -> list[np.ndarray]:
    """The vectors of rows where an index keeps them so: of pairs the passages', queries are asked as they are."""
    every = np.stack([np.asarray(prediction, dtype=np.float32) for prediction in predictions])
    if rows[0].text_pair is None:
        return list(kept(every, form))
    queries, passages = np.split(every, 2, axis=1)
    return list(np.concatenate([queries, kept(passages, form)], axis=1))


def findings(predictions: Sequence[Any], rows: Sequence[Row], similarity: str) -> list[dict[str, Any]]:
    """What is found with each row's vector: see `compress.metrics.vectors`."""
    all_vectors = np.stack([np.asarray(prediction, dtype=np.float32) for prediction in predictions])
    languages = [row.lang for row in rows]
    groups = [row.parallel or f"row {number}" for number, row in enumerate(rows)]
    if rows[0].text_pair is None:
        found = _of_texts(all_vectors, rows, groups, similarity)
    else:
        queries, passages = np.split(all_vectors, 2, axis=1)
        found = _of_pairs(queries, passages, rows, similarity)
        if rows[0].parallel is not None and not isinstance(rows[0].label, float):
            passage_texts = [row.text_pair for row in rows]
            across = vectors.found_across(queries, passages, groups, passage_texts, languages, similarity)
            if any(across):
                found = [{**own, vectors.RANKS_ACROSS: ranks} for own, ranks in zip(found, across, strict=True)]
    if isinstance(rows[0].label, list):
        near = vectors.cosines(all_vectors, np.array([row.label for row in rows], dtype=np.float32))
        found = [{**own, vectors.COSINE: round(float(value), 6)} for own, value in zip(found, near, strict=True)]
    return found


def _of_texts(found: np.ndarray, rows: Sequence[Row], groups: Sequence[str], kind: str) -> list[dict[str, Any]]:
    nearest = vectors.nearest_of(found, found, kind, same=True)
    told: list[dict[str, Any]] = [{vectors.NEAREST: int(place)} for place in nearest]
    if rows[0].parallel is not None:
        right = vectors.translations_found(found, groups, [row.lang for row in rows], kind)
        if any(share is not None for share in right):
            told = [{**own, vectors.RIGHT: share} for own, share in zip(told, right, strict=True)]
    return told


def _of_pairs(queries: np.ndarray, passages: np.ndarray, rows: Sequence[Row], kind: str) -> list[dict[str, Any]]:
    pairs = [(row.text, row.text_pair) for row in rows]
    found = vectors.found_by_query(queries, passages, pairs, [row.lang for row in rows], kind)
    if isinstance(rows[0].label, float):
        alike = vectors.paired_similarities(queries, passages, kind)
        return [
            {vectors.NEAREST: own[vectors.NEAREST], vectors.SIMILARITY: round(float(value), 6)}
            for own, value in zip(found, alike, strict=True)
        ]
    return found


def metrics(predictions: Sequence[Any], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    return vectors.metrics_of(predictions, [row.label for row in rows])


label_counts = no_label_counts
probabilities = no_probabilities
needs_thresholds = without_thresholds
thresholds = no_thresholds


def agreed(before: Sequence[Any], after: Sequence[Any]) -> list[Agreed]:
    """Two models agree on a row where the same text is nearest to it."""
    pairs = zip(before, after, strict=True)
    return [[("", one[vectors.NEAREST] == other[vectors.NEAREST])] for one, other in pairs]


languages_in = one_language
served_text = plain_text
content = shared.content


def question(row: Row) -> dict[str, str]:
    """A text and, empty for the default one, the kind that names its prompt."""
    return {"TEXT": row.text, "KIND": "" if row.text_pair is None else QUERY}


def example_call(row: Row) -> str:
    return '["a text"], kind="query"'
