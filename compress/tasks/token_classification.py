"""Token labels (named entities, parts of speech): ``text`` is a list of words, ``label`` a list of as many names."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import CompressError
from compress.metrics.labels import LabelCounts
from compress.metrics.metric import Metric, f1_of_counts, share
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


FIELDS: Mapping[str, str] = {"text": "tokens", "label": "labels"}
AUTO_CLASS = "AutoModelForTokenClassification"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = "input_ids"
KEPT_LOGITS: int | None = None
SINGLE_LABEL = False
SEVERAL_LABELS = False
GENERATES = False
VECTORS = False
NUMBERS = False
RANKS = False
BEST_EPOCH: TrainingMetric = "accuracy"
GRAPHS: tuple[str, ...] = usual.ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = {
    **usual.RANKING_ONLY,
    **usual.LABELLED_ROWS_ONLY,
    **usual.WHOLE_TEXTS_ONLY,
    **usual.GENERATION_ONLY,
    **usual.VECTORS_ONLY,
}
BUILT_IN = True
SPLIT_BY: SplitBy = "text"
OUTSIDE = "O"


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    words = _names(place, content, columns, "text")
    wanted = _names(place, content, columns, "label") if "label" in columns else []
    if "label" in columns and len(words) != len(wanted):
        raise CompressError(f"{place}: {len(words)} words but {len(wanted)} labels; each word needs one")
    return Row(text=words, label=wanted, lang="")


def _names(place: str, content: Mapping[str, Any], columns: Mapping[str, str], role: str) -> list[str]:
    value = value_in(place, content, columns, role)
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(part, str) for part in value):
        raise CompressError(f"{place}: field '{columns[role]}' must be a list of text, got {reprlib.repr(value)}")
    return [normalised(place, columns[role], part) for part in value]


def label_names(row: Row) -> Sequence[str]:
    names: list[str] = row.label
    return names


def texts(row: Row) -> Sequence[str]:
    return [" ".join(row.text)]


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """A word's label stands at its first token; rows that are too long go on in another example."""
    number, before = {label: index for index, label in enumerate(labels)}, usual.written_prefix(settings).split()

    def encode(rows: Sequence[Row]) -> list[Example]:
        output = tokenizer(
            [before + row.text for row in rows],
            is_split_into_words=True,
            truncation=True,
            max_length=settings.max_length,
            return_overflowing_tokens=True,
            return_attention_mask=False,
        )
        samples = output.pop("overflow_to_sample_mapping", range(len(rows)))
        examples, seen = [], set()
        for index, row in enumerate(samples):
            words = []
            for word in output.word_ids(index):
                own = -1 if word is None else word - len(before)  # those before have no label
                words.append(-1 if own < 0 or (row, own) in seen else own)
                seen.add((row, own))
            wanted = [number[rows[row].label[word]] if word >= 0 and rows[row].label else NO_LABEL for word in words]
            inputs = {name: output[name][index] for name in output}
            examples.append({"row": row, "labels": wanted, "words": words, **inputs})
        return examples

    return encode


model_inputs = usual.encoder_inputs


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    return outputs


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[list[str]]:
    # A word that the tokenizer makes nothing of has no prediction of its own.
    predicted = [[OUTSIDE if OUTSIDE in labels else labels[0]] * len(row.text) for row in rows]
    for logits, example in zip(outputs, examples, strict=True):
        for word, best in zip(example["words"], logits.argmax(axis=-1), strict=True):
            if word >= 0:
                predicted[example["row"]][word] = labels[best]
    return predicted


def answered(row: Row, prediction: list[str], thresholds: Sequence[float] = ()) -> Row | None:
    return replace(row, label=prediction)


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[list[str]], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    """F1 of whole spans (Nakayama's seqeval, as CoNLL counts), of which parts of speech have none; right words."""
    pairs = list(zip(predictions, (row.label for row in rows), strict=True))
    words = share([(sum(map(str.__eq__, found, wanted)), len(wanted)) for found, wanted in pairs])
    if not _have_spans(labels):
        return {"accuracy": words}
    return {"F1": f1_of_counts([_spans(found, wanted) for found, wanted in pairs]), "accuracy": words}


def label_counts(predictions: Sequence[list[str]], rows: Sequence[Row], labels: Sequence[str]) -> LabelCounts | None:
    """Of each kind of spans or, where labels are of single words, of each label."""
    spans = _have_spans(labels)
    names = sorted({label[2:] for label in labels if label != OUTSIDE}) if spans else list(labels)
    number = {name: index for index, name in enumerate(names)}
    right, found, wanted = np.zeros((3, len(rows), len(names)), dtype=np.int32)
    for row, (predicted, given) in enumerate(zip(predictions, (row.label for row in rows), strict=True)):
        one, two = (
            _entities(words) if spans else set(zip(words, range(len(words)), strict=True))
            for words in (predicted, given)
        )
        for counts, kept in ((right, one & two), (found, one), (wanted, two)):
            for name, *_ in kept:
                counts[row, number[name]] += 1
    return LabelCounts(names, right, found, wanted)


def _have_spans(labels: Sequence[str]) -> bool:
    return all(label == OUTSIDE or label[1:2] == "-" for label in labels)


def _entities(words: list[str]) -> set[tuple[str, ...]]:
    from seqeval.metrics.sequence_labeling import get_entities

    return set(get_entities(words))


def _spans(predicted: list[str], wanted: list[str]) -> tuple[int, int, int]:
    """Numbers of spans that are right, predicted and wanted."""
    found, true = _entities(predicted), _entities(wanted)
    return len(found & true), len(found), len(true)


probabilities = usual.no_probabilities
needs_thresholds = usual.without_thresholds
thresholds = usual.no_thresholds


def agreed(before: Sequence[list[str]], after: Sequence[list[str]]) -> list[Agreed]:
    return [[(a, a == b) for a, b in zip(one, other, strict=True)] for one, other in zip(before, after, strict=True)]


languages_in = usual.one_language
read_before = usual.prefix_alone
written_before = usual.prefix_before
asking_tokens = usual.no_asking_tokens
rows_learnt = usual.row_alone
told = usual.told_as_it_is


def question(row: Row) -> dict[str, str]:
    return {"TEXT": json.dumps(row.text, ensure_ascii=False)}


def served_text(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deeply") from error


def example_call(row: Row) -> str:
    return '[["some", "words"]]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    return {FIELDS["text"]: text}
