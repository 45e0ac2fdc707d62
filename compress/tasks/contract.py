"""What the stages ask of a task: each is one module, and stages ask what it says of itself (``RANKS``, ``VECTORS``).

The registry alone names these modules: what stages need of one task is a function of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from compress.tasks.rows import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from compress.metrics.labels import LabelCounts
    from compress.metrics.metric import Metric
    from compress.metrics.stored import StoredForm

Example = dict[str, Any]
"""What a model reads at once: ``input_ids`` and, for tokenizers that use them, ``token_type_ids``; ``labels``, one for
each position that is predicted (-100: none); and whatever else the task needs to find its way back to the row."""

Encode = Callable[[Sequence[Row]], list[Example]]
"""From rows to examples, each with the number of its ``row``: long rows may become several, one after the other."""

Prediction = Any
"""What is predicted of a row, as JSON knows it, or of a model that gives vectors an array."""

Reported = Any
"""What reports keep of a row's prediction, and metrics read: itself, or a model that says what is found with it."""

Agreed = Sequence[tuple[str, bool]]
"""Of each part of a row's prediction (the whole, a word's label, one of several labels) what one model says, and
whether another agrees."""

ProblemType = Literal["multi_label_classification", "regression"]
"""As configurations of transformers call it, where a row does not have one label."""

TrainingMetric = Literal["accuracy", "loss"]

Activation = Literal["sigmoid", "identity"]
"""What makes a score of a model's output; neither changes a ranking."""

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

    def findings(self, predictions: Sequence[Prediction], rows: Sequence[Row], similarity: str) -> list[Reported]:
        """What reports keep of predictions, and `metrics` and `agreed` read: they themselves or, of vectors, what is
        found with them among all rows.

        :param similarity: How vectors are compared.
        """

    def findings_among(self, findings: Sequence[Reported], rows: Sequence[Row]) -> list[Reported]:
        """The findings of some rows as they are among these alone."""

    def finding_as_json(self, finding: Reported) -> Any:
        """A finding as files have it."""

    def finding_of_json(self, content: Any) -> Reported:
        """A finding of a file.

        :raises TypeError: If it is none.
        """

    def index_forms(
        self, predictions: Sequence[Prediction], rows: Sequence[Row], dimensions: Sequence[int]
    ) -> Iterator[tuple[StoredForm, list[Prediction]]]:
        """The predictions as they are where an index keeps them in fewer bytes; nothing where they are no vectors.

        :param dimensions: So many of a vector's first numbers may be kept alone.
        """

    def metrics(self, predictions: Sequence[Reported], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
        """How good the predictions are, as `findings` has them; what models are compared by comes first."""

    def label_counts(
        self, predictions: Sequence[Reported], rows: Sequence[Row], labels: Sequence[str]
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

    def agreed(self, before: Sequence[Reported], after: Sequence[Reported]) -> list[Agreed]:
        """Where two models agree, row by row."""

    def languages_in(self, lang: str) -> Sequence[str]:
        """The languages that a row's ``lang`` names: one, or those of a pair."""

    def read_before(self, settings: TextSettings, lang: str) -> list[str]:
        """What may stand before the text of a row.

        :param lang: Of the row.
        """

    def written_before(self, tokenizer: PreTrainedTokenizerBase, settings: TextSettings, row: Row) -> str:
        """What stands before the text of a row, as the `encoder` puts it there.

        :param tokenizer: Where it has codes of languages, it is told those of the row.
        """

    def asking_tokens(self, languages: Iterable[str]) -> list[str]:
        """Tokens by which a model that learns from rows is asked for a language, where its tokenizer has no codes.

        :param languages: ``lang`` of the rows.
        """

    def rows_learnt(self, row: Row) -> list[Row]:
        """What a student learns of a row: the row, or each of its texts where each has a vector."""

    def told(self, prediction: Prediction, activation: Activation | None) -> Prediction:
        """A prediction as those who ask a served model are given it.

        :param activation: Of a model that ranks.
        """

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


def refuses(task: Task, field: str, value: str) -> bool:
    """Whether a task has no use for a value of a recipe's field."""
    return field in task.REFUSED_FIELDS or f"{field}={value}" in task.REFUSED_FIELDS
