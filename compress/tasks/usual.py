"""What most tasks answer, and the recipe's fields that several have no use for: each says it once, by these names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.tasks.contract import Activation, Agreed, Example, Prediction, Reported, TextSettings
from compress.tasks.rows import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from compress.metrics.stored import StoredForm

ENCODER_GRAPHS: tuple[str, ...] = ("model.onnx",)
"""Of models that read, but write nothing."""

LABELLED_ROWS_ONLY: Mapping[str, str] = {
    "data.unlabelled": "text-classification",
    "teacher.predictions": "text-classification",
    "student.rows": "text-classification",
    "student.augmentation": "text-classification",
    "student.distillation.pivot": "text-classification",
    "student.tokenizer": "text-classification",
    "student.vocabulary_size": "text-classification",
    "evaluation.baseline": "text-classification",
}
"""Fields that ask for rows with one label, by whom they are for."""

LABELS_ONLY: Mapping[str, str] = {
    "data.label_names": "text-classification, multi-label-classification and token-classification"
}
"""Fields that ask for labels of a closed set, by whom they are for."""

_WHOLE_TEXTS = "tasks that say something of a text as a whole"
WHOLE_TEXTS_ONLY: Mapping[str, str] = {"teacher.pooling": _WHOLE_TEXTS, "student.kind=static": _WHOLE_TEXTS}
"""Fields that ask for one answer a row, by whom they are for."""

GENERATION_ONLY: Mapping[str, str] = {
    "student.distillation.sequences.enabled": "translation",
    "student.decoder_layers": "translation",
    "teacher.scratch.decoder_layers": "translation",
    "data.language_codes": "translation",
    "data.fields.source_lang": "translation",
    "data.fields.target_lang": "translation",
    "generation": "translation",
}
"""Fields that ask for models that write text, by whom they are for."""

VECTORS_ONLY: Mapping[str, str] = {
    "data.prompts": "embedding",
    "data.default_prompt": "embedding",
    "teacher.embedding": "embedding",
    "student.distillation.vectors": "embedding",
}
"""Fields that ask for models that give vectors, by whom they are for."""

RANKING_ONLY: Mapping[str, str] = {
    "data.negatives.per_query": "reranking",
    "data.negatives.by": "reranking",
    "student.distillation.ranking": "reranking",
}
"""Fields that ask for passages of queries, by whom they are for."""


def written_prefix(settings: TextSettings) -> str:
    """What stands before the text, where rows have one language."""
    return (settings.prefix or "").format()


def prefix_alone(settings: TextSettings, lang: str) -> list[str]:
    """`Task.read_before` where rows have one language."""
    return [written_prefix(settings)] if settings.prefix else []


def prefix_before(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, row: Row) -> str:
    """`Task.written_before` where the same stands before all texts."""
    return written_prefix(settings)


def no_asking_tokens(languages: Iterable[str]) -> list[str]:
    """`Task.asking_tokens` where nothing is asked for."""
    return []


def row_alone(row: Row) -> list[Row]:
    """`Task.rows_learnt` where a row has one prediction."""
    return [row]


def encoder_inputs(config: Any, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """`Task.model_inputs` of models that read, but write nothing."""
    return inputs


def one_language(lang: str) -> Sequence[str]:
    """`Task.languages_in` where rows have one language."""
    return [lang]


def plain_text(text: str) -> str:
    """`Task.served_text` where rows hold text."""
    return text


def no_label_counts(predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str]) -> None:
    """`Task.label_counts` where rows have no labels of a closed set."""


def no_probabilities(outputs: Sequence[np.ndarray]) -> np.ndarray | None:
    """`Task.probabilities` where rows as a whole have no labels."""
    return None


def without_thresholds(rows: Iterable[Row]) -> bool:
    """`Task.needs_thresholds` where none are needed."""
    return False


def no_thresholds(outputs: Sequence[np.ndarray], examples: Sequence[Example], rows: Sequence[Row]) -> list[float]:
    """`Task.thresholds` where none are needed."""
    return []


def as_predicted(predictions: Sequence[Prediction], rows: Sequence[Row], similarity: str) -> list[Reported]:
    """`Task.findings` where a row's prediction says it all."""
    return list(predictions)


def as_found(findings: Sequence[Reported], rows: Sequence[Row]) -> list[Reported]:
    """`Task.findings_among` where rows do not depend on one another."""
    return list(findings)


def as_it_is(content: Any) -> Any:
    """`Task.finding_as_json` and `Task.finding_of_json` where findings are predictions."""
    return content


def no_index_forms(
    predictions: Sequence[Prediction], rows: Sequence[Row], dimensions: Sequence[int]
) -> Iterator[tuple[StoredForm, list[Prediction]]]:
    """`Task.index_forms` where predictions are no vectors."""
    return iter(())


def told_as_it_is(prediction: Prediction, activation: Activation | None) -> Prediction:
    """`Task.told` where nothing is made of a prediction."""
    return prediction


def rows_agreed(before: Sequence[Prediction], after: Sequence[Prediction]) -> list[Agreed]:
    """`Task.agreed` where a row has one prediction."""
    return [[(one, one == other)] for one, other in zip(before, after, strict=True)]
