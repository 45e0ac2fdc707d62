"""Text classification, sentence pairs included: ``text`` and perhaps ``text_pair`` are text, ``label`` is a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.metrics.labels import LabelCounts
from compress.metrics.languages import largest_probabilities
from compress.metrics.metric import Metric, accuracy, macro_f1
from compress.tasks.contract import (
    ENCODER_GRAPHS,
    GENERATION_ONLY,
    NO_LABEL,
    Encode,
    Example,
    TextSettings,
    encoder_inputs,
    one_language,
    plain_text,
)
from compress.tasks.rows import Row, name_in, text_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": "text", "label": "label"}
AUTO_CLASS = "AutoModelForSequenceClassification"
OUTPUTS: tuple[str, ...] = ("logits",)
OUTPUT_AXIS: str | None = None
KEPT_LOGITS: int | None = None
SINGLE_LABEL = True
GENERATES = False
GRAPHS: tuple[str, ...] = ENCODER_GRAPHS
REFUSED_FIELDS: Mapping[str, str] = GENERATION_ONLY
BUILT_IN = True


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return Row(
        text=text_in(place, content, columns, "text"),
        text_pair=text_in(place, content, columns, "text_pair") if "text_pair" in columns else None,
        label=name_in(place, content, columns, "label") if "label" in columns else "",
        lang="",
    )


def label_names(row: Row) -> Sequence[str]:
    return [row.label] if row.label else []


def texts(row: Row) -> Sequence[str]:
    return [row.text] if row.text_pair is None else [row.text, row.text_pair]


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    number = {label: index for index, label in enumerate(labels)}

    def encode(rows: Sequence[Row]) -> list[Example]:
        pairs = [row.text_pair for row in rows]
        output = tokenizer(
            [row.text for row in rows],
            None if all(pair is None for pair in pairs) else pairs,
            truncation=True,
            max_length=settings.max_length,
            return_attention_mask=False,
        )
        return [
            {
                "row": index,
                "labels": [number.get(row.label, NO_LABEL)],
                **{name: output[name][index] for name in output},
            }
            for index, row in enumerate(rows)
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
) -> list[str]:
    return [labels[int(logits.argmax())] for logits in outputs]


def answered(row: Row, prediction: str) -> Row | None:
    return replace(row, label=prediction)


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


def confidences(outputs: Sequence[np.ndarray]) -> np.ndarray | None:
    return largest_probabilities(outputs)


languages_in = one_language


def question(row: Row) -> dict[str, str]:
    return {"TEXT": row.text, **({} if row.text_pair is None else {"TEXT_PAIR": row.text_pair})}


served_text = plain_text


def example_call(row: Row) -> str:
    return '["a text"]' if row.text_pair is None else '["a text"], ["another"]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    return {FIELDS["text"]: text, "text_pair": text_pair}
