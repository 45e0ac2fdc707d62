"""A model's questions and answers as named tensors: what Triton's configurations, its Python model and `compress serve`
call them.

Texts come as ``TEXT`` and, where there is more to say, ``TEXT_PAIR``, ``LANGUAGES`` or ``KIND`` (the name of a vector's
prompt, empty for the default one); answers go as ``PREDICTION`` and ``PROBABILITIES``, or ``EMBEDDING``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.contract import Contract
from compress.errors import CompressError
from compress.serving.client import Model, TextRead
from compress.serving.format import Description
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

OPTIONAL_INPUTS = ("KIND",)


class NamedTensor(Contract):
    """What a tensor is called and holds, its shape without the texts; -1 where that is not known beforehand."""

    name: str
    datatype: Literal["BYTES", "FP32"]
    shape: tuple[int, ...]


def inputs_of(description: Description) -> list[NamedTensor]:
    """What a model is asked with."""
    row = Row(text="", label="", lang="", text_pair="" if description.pairs else None)
    names = task_named(description.task).question(row)
    return [NamedTensor(name=name, datatype="BYTES", shape=(1,)) for name in names]


def outputs_of(description: Description) -> list[NamedTensor]:
    """What it answers with."""
    task = task_named(description.task)
    if task.VECTORS:
        return [NamedTensor(name="EMBEDDING", datatype="FP32", shape=(-1,))]
    found = [NamedTensor(name="PREDICTION", datatype="BYTES", shape=(1,))]
    if task.SINGLE_LABEL or task.SEVERAL_LABELS:
        found.append(NamedTensor(name="PROBABILITIES", datatype="FP32", shape=(len(description.labels),)))
    return found


def read_inputs(model: Model, texts: Mapping[str, Sequence[str]]) -> list[TextRead]:
    """Texts as a model reads them.

    :param texts: Of each input as many, by its name.
    :raises CompressError: If a text is none that the task reads.
    """
    asked = [_as_content(model.description, number, text) for number, text in enumerate(texts["TEXT"])]
    kinds = [kind or None for kind in texts["KIND"]] if "KIND" in texts else None
    return model.read(asked, texts.get("TEXT_PAIR"), texts.get("LANGUAGES"), kinds)


def _as_content(described: Description, number: int, text: str) -> Any:
    try:
        return task_named(described.task).served_text(text)
    except ValueError as error:
        raise CompressError(f"text {number}: {error}; wanted is a list of words as JSON") from error


def answers_to(model: Model, read: Sequence[TextRead]) -> list[Any]:
    """What a model says of each text: an `Answer`, or a vector, float32 (dimensions,)."""
    if task_named(model.description.task).VECTORS:
        return list(model.vectors_of(read))
    return list(model.answers_to(read))


def output_arrays(answers: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """The answers by name of the tensor: float32 (texts, numbers), or text as UTF-8, objects (texts, 1)."""
    if isinstance(answers[0], np.ndarray):
        return {"EMBEDDING": np.stack(answers)}
    said = [answer.prediction for answer in answers]
    texts = [text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for text in said]
    found: dict[str, NDArray[Any]] = {"PREDICTION": np.array([[text.encode()] for text in texts], dtype=object)}
    sure = [list(answer.probabilities.values()) for answer in answers if answer.probabilities is not None]
    return found | ({"PROBABILITIES": np.array(sure, dtype=np.float32)} if sure else {})
