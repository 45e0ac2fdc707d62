"""What the stages ask of a task: each is one module, and stages ask what it says of itself (``RANKS``, ``VECTORS``).

What one task alone has, as the query of a reranker's row, those who need it take from its module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compress.tasks.rows import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from compress.metrics.labels import LabelCounts
    from compress.metrics.metric import Metric

Example = dict[str, Any]
"""What a model reads at once: ``input_ids`` and, for tokenizers that use them, ``token_type_ids``; ``labels``, one for
each position that is predicted (-100: none); and whatever else the task needs to find its way back to the row."""

Encode = Callable[[Sequence[Row]], list[Example]]
"""From rows to examples, each with the number of its ``row``: long rows may become several, one after the other."""

Prediction = Any
"""What is predicted of a row, as JSON knows it."""

Agreed = Sequence[tuple[str, bool]]
"""Of each part of a row's prediction (the whole, a word's label, one of several labels) what one model says, and
whether another agrees."""

ProblemType = Literal["multi_label_classification", "regression"]
"""As configurations of transformers call it, where a row does not have one label."""

TrainingMetric = Literal["accuracy", "loss"]

SplitBy = Literal["text", "text_pair"]
"""The part of a row that others may have too."""

NO_LABEL = -100


class TextSettings(Protocol):
    """What decides, with a tokenizer, what models read of rows: a recipe has it, and a packed model's description."""

    @property
    def max_length(self) -> int:
        """Tokens of an example; longer rows are cut."""

    @property
    def language_codes(self) -> Mapping[str, str]:
        """What a tokenizer calls the languages, where not as the data does."""

    @property
    def prefix(self) -> str | None:
        """What stands before the text, for `str.format`; of a translation with ``{source}`` and ``{target}``."""

    @property
    def prompts(self) -> Mapping[str, str] | None:
        """What stands before a text, by what it is (query, passage); none where a model has none."""

    @property
    def default_prompt(self) -> str | None:
        """Which of them stands before texts of which nothing is said."""


class Task(Protocol):
    """What the stages ask of a task.

    ``FIELDS`` are the columns it reads where the recipe names no others, by role. ``AUTO_CLASS`` is the class of
    transformers that loads its models, ``PROBLEM_TYPE`` what their configurations call the problem, where the class is
    for several, and ``OUTPUTS`` the names of their outputs: several are stacked along a last axis.
    ``GRAPHS`` are the files of its models in ONNX. ``OUTPUT_AXIS`` names the list of an example, ``input_ids`` or
    ``labels``, each element of which has an output of its own; none where there is one for the whole example.
    ``SINGLE_LABEL`` tells whether a row has one label of a closed set, which a teacher may give it, ``SEVERAL_LABELS``
    whether it may have more than one, ``GENERATES`` whether models predict by writing text, token by token, ``VECTORS``
    whether they give vectors, which are compared with one another and need no labels, ``NUMBERS`` whether a row's
    prediction is a number, the one output of a head, ``RANKS`` whether that is held against those of the same query;
    ``BEST_EPOCH`` by what a training's best epoch is chosen. ``REFUSED_FIELDS`` are the recipe's fields that it has no
    use for (``field``, or ``field=value`` where only a value is refused), with whom they are for; ``BUILT_IN`` tells
    whether there is built-in data. ``SPLIT_BY`` is what rows must not share with those of another split: who has seen
    it in one row knows more about the others. ``KEPT_LOGITS`` says how many of an element's logits are kept of the
    teacher, the largest; none for all.
    """

    FIELDS: Mapping[str, str]
    AUTO_CLASS: str
    PROBLEM_TYPE: ProblemType | None
    OUTPUTS: tuple[str, ...]
    GRAPHS: tuple[str, ...]
    OUTPUT_AXIS: str | None
    KEPT_LOGITS: int | None
    SINGLE_LABEL: bool
    SEVERAL_LABELS: bool
    GENERATES: bool
    VECTORS: bool
    NUMBERS: bool
    RANKS: bool
    BEST_EPOCH: TrainingMetric
    REFUSED_FIELDS: Mapping[str, str]
    BUILT_IN: bool
    SPLIT_BY: SplitBy

    def read_row(self, place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
        """One of the user's rows, checked.

        :param place: Where it stands, for messages.
        :param columns: Names of its fields, by role; rows without a ``label`` have none.
        :raises CompressError: Naming the field and what is wrong with it.
        """

    def label_names(self, row: Row) -> Sequence[str]:
        """The names that a row's label uses, where they are of a closed set."""

    def texts(self, row: Row) -> Sequence[str]:
        """All text of a row, for tokenizers."""

    def encoder(self, tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
        """The tokenisation of rows."""

    def model_inputs(self, config: Any, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """What a model is called with to predict each of the labels.

        :param config: The model's configuration.
        :param inputs: int64 (rows, tokens), by name.
        :param labels: int64 (rows, labels).
        """

    def positions(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """Logits, float (rows, positions, classes), for each of an example's ``labels``.

        :param outputs: Float (rows, classes), or (rows, elements, classes) where ``OUTPUT_AXIS`` names a list.
        :param mask: Attention mask (rows, tokens).
        """

    def decode(
        self,
        outputs: Sequence[np.ndarray],
        examples: Sequence[Example],
        rows: Sequence[Row],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        thresholds: Sequence[float] = (),
    ) -> list[Prediction]:
        """What is predicted of each row.

        :param outputs: Of each example, float (classes,) or (elements, classes), padding cut off; where the task
            generates, the tokens that were written, int64 (tokens,).
        :param thresholds: Where rows have several labels, the probability from which on each is said; none: 0.5. Where
            questions may have no answer, by how much that must beat the best one; none: all are answered.
        """

    def answered(self, row: Row, prediction: Prediction, thresholds: Sequence[float] = ()) -> Row | None:
        """A row whose label is what a model with these thresholds predicts; none where it predicts nothing."""

    def findings(self, predictions: Sequence[Prediction], rows: Sequence[Row], similarity: str) -> list[Prediction]:
        """What reports keep of predictions, and `metrics` and `agreed` read: they themselves or, of vectors, what is
        found with them among all rows.

        :param similarity: How vectors are compared.
        """

    def metrics(
        self, predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str]
    ) -> dict[str, Metric]:
        """How good the predictions are, as `findings` has them; what models are compared by comes first."""

    def label_counts(
        self, predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str]
    ) -> LabelCounts | None:
        """How often each label is right, predicted and wanted in each row; none where labels are no closed set."""

    def probabilities(self, outputs: Sequence[np.ndarray]) -> np.ndarray | None:
        """Of each row's labels, float (rows, labels); none where rows as a whole have no labels."""

    def needs_thresholds(self, rows: Iterable[Row]) -> bool:
        """Whether what a model that learns from such rows says depends on thresholds."""

    def thresholds(
        self, outputs: Sequence[np.ndarray], examples: Sequence[Example], rows: Sequence[Row]
    ) -> list[float]:
        """What a model says is best on these rows with, as `decode` takes it.

        :param outputs: As `decode` takes them.
        """

    def agreed(self, before: Sequence[Prediction], after: Sequence[Prediction]) -> list[Agreed]:
        """Where two models agree, row by row."""

    def languages_in(self, lang: str) -> Sequence[str]:
        """The languages that a row's ``lang`` names: one, or those of a pair."""

    def question(self, row: Row) -> dict[str, str]:
        """What a served model is asked with to predict a row: ``TEXT`` and what comes with it."""

    def served_text(self, text: str) -> Any:
        """The ``TEXT`` of a `question`, as `content` takes it.

        :raises ValueError: If it is none.
        """

    def example_call(self, row: Row) -> str:
        """The arguments of `compress.serving.client.Model.predict` for a row of this kind, as people are shown them."""

    def content(self, text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
        """A question as one of the user's rows would have it, for `read_row`.

        :raises CompressError: If it lacks something.
        """


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


def refuses(task: Task, field: str, value: str) -> bool:
    """Whether a task has no use for a value of a recipe's field."""
    return field in task.REFUSED_FIELDS or f"{field}={value}" in task.REFUSED_FIELDS


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


def as_predicted(predictions: Sequence[Prediction], rows: Sequence[Row], similarity: str) -> list[Prediction]:
    """`Task.findings` where predictions are no vectors."""
    return list(predictions)


def rows_agreed(before: Sequence[Prediction], after: Sequence[Prediction]) -> list[Agreed]:
    """`Task.agreed` where a row has one prediction."""
    return [[(one, one == other)] for one, other in zip(before, after, strict=True)]
