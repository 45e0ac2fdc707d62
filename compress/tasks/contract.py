"""Tasks: each is one module with the functions of `Task`, and the stages know none of them by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from compress.tasks.rows import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from compress.metrics.metric import Metric
    from compress.recipe.recipe import Data, Fields

Example = dict[str, Any]
"""What a model reads at once: ``input_ids`` and, for tokenizers that use them, ``token_type_ids``; ``labels``, one for
each position that is predicted (-100: none); and whatever else the task needs to find its way back to the row."""

Encode = Callable[[Sequence[Row]], list[Example]]
"""From rows to examples, each with the number of its ``row``: long rows may become several, one after the other."""

Prediction = Any
"""What is predicted of a row, as JSON knows it."""

NO_LABEL = -100


class Task(Protocol):
    """What the stages ask of a task.

    ``FIELDS`` are the columns it reads where the recipe names no others, by role. ``AUTO_CLASS`` is the class of
    transformers that loads its models, ``OUTPUTS`` the names of their outputs: several are stacked along a last axis.
    ``ONE_FOR_EACH`` names the list of an example, ``input_ids`` or ``labels``, each element of which has an output of
    its own; none where there is one for the whole example. ``LABEL_A_ROW`` tells whether a row has one label of a
    closed set, which a teacher may give it, ``GENERATES`` whether models predict by writing text, token by token.
    """

    FIELDS: Mapping[str, str]
    AUTO_CLASS: str
    OUTPUTS: tuple[str, ...]
    ONE_FOR_EACH: str | None
    LABEL_A_ROW: bool
    GENERATES: bool

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

    def encoder(self, tokenizer: PreTrainedTokenizerBase, data: Data, labels: Sequence[str]) -> Encode:
        """The tokenisation of rows."""

    def model_inputs(self, config: Any, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """What a model is called with to predict each of the labels.

        :param config: The model's configuration.
        :param inputs: int64 (rows, tokens), by name.
        :param labels: int64 (rows, labels).
        """

    def positions(self, outputs: Tensor, mask: Tensor) -> Tensor:
        """Logits, float (rows, positions, classes), for each of an example's ``labels``.

        :param outputs: Float (rows, classes), or (rows, elements, classes) where ``ONE_FOR_EACH`` names a list.
        :param mask: Attention mask (rows, tokens).
        """

    def decode(
        self,
        outputs: Sequence[np.ndarray],
        examples: Sequence[Example],
        rows: Sequence[Row],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
    ) -> list[Prediction]:
        """What is predicted of each row.

        :param outputs: Of each example, float (classes,) or (elements, classes), padding cut off; where the task
            generates, the tokens that were written, int64 (tokens,).
        """

    def metrics(
        self, predictions: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str]
    ) -> dict[str, Metric]:
        """How good the predictions are; what models are compared by comes first."""


def encoder_inputs(config: Any, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """`Task.model_inputs` of models that read, but write nothing."""
    return inputs


def task_named(name: str) -> Task:
    """The module of a task."""
    return cast("Task", importlib.import_module(f"compress.tasks.{name.replace('-', '_')}"))


def columns_of(task: Task, fields: Fields, labelled: bool) -> dict[str, str]:
    """Names of the fields that a row must have, by role: the recipe's, else the task's."""
    given = {role: name for role, name in fields.model_dump().items() if name}
    roles = [*task.FIELDS, *(["text_pair"] if "text_pair" in given and "text_pair" not in task.FIELDS else [])]
    roles += ["lang"] if "lang" in given and "source_lang" not in roles else []
    roles += ["parallel"] if "parallel" in given else []
    return {role: given.get(role) or task.FIELDS[role] for role in roles if labelled or role != "label"}
