"""Asking a bundle's model: the same question and the same answer whatever it runs on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.data.batches import BATCH_TOKENS
from compress.data.encode import pad
from compress.errors import CompressError, UnavailableError
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search
from compress.runtimes.onnx import onnx_session, text_operators
from compress.runtimes.predict import check_complete, check_outputs, load_predict, predict_examples, runtime_of
from compress.serving.bound import batch_tokens_within, check_can_be_bound
from compress.serving.format import (
    DESCRIPTION,
    MANIFEST,
    Description,
    read_bundle_manifest,
    read_description,
    refuse_run,
)
from compress.targets import is_for_gpu
from compress.tasks.contract import Example, Prediction, Task
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCH_SIZE = 64
_ASK_ANOTHER = "ask another model"


@dataclass(frozen=True)
class Answer:
    """What a model says of one text.

    ``prediction`` is a label; a list of labels, one a word, or those that a text has; the text of an answer; or a
    translation, or numbers. ``probabilities`` are those of all labels, 0 to 1, where a text as a whole has labels.
    """

    prediction: Prediction
    probabilities: dict[str, float] | None = None


@dataclass(frozen=True)
class Ranked:
    """A passage that was ranked: its text, its score, and where it stood among those that were given."""

    passage: str
    score: float
    place: int


@dataclass(frozen=True)
class TextRead:
    """A text as a model has read it: its row, and the examples that this became; none where the graph reads text."""

    row: Row
    examples: Sequence[Example]

    @property
    def tokens(self) -> int:
        """How many it has for the model; where the tokenizer is in the graph, its characters."""
        return sum(len(example["input_ids"]) for example in self.examples) if self.examples else len(self.row.text)


class Model:
    """A model of a bundle; it may be asked from several threads at once."""

    def __init__(
        self,
        folder: Path,
        description: Description,
        threads: int | None = None,
        opened: tuple[PreTrainedTokenizerBase, Predict] | None = None,
        memory: int | None = None,
    ):
        """:param folder: Of the model's files; `compress.load` finds it.
        :param threads: Threads of one run; none for as many as may run at once.
        :param opened: Tokenizer and model, where they are in memory already.
        :param memory: Bytes that this process may come to hold; batches run one after the other then. None: no bound.
        :raises CompressError: If it cannot be loaded, or its memory does not hold it and a row of the longest kind.
        """
        if memory is not None:
            check_can_be_bound(description)
        self.description = description
        self.labels = description.labels
        self._task = task_named(description.task)
        self._answers: Callable[[list[Row]], list[Answer]] = self._from_tokens
        # A tokenizer keeps what the last call asked for: two calls at once would disturb one another.
        self._tokenizing = threading.Lock()
        self._batch_tokens = BATCH_TOKENS
        if description.reads == "text":
            check_complete(folder, self._task, "ONNX Runtime")
            self._answers = _text_reader(folder, description, threads)
            return
        from compress.models.load import load_tokenizer

        search = Search(description.beams, description.length_penalty, description.max_length)
        self._tokenizer, self._predict = opened or (
            load_tokenizer(str(folder)),
            _runtime(folder, description, self._task, search, threads),
        )
        if memory is not None:
            self._predict = _one_at_a_time(self._predict)
            self._batch_tokens = batch_tokens_within(memory, description, self._predict, self._inputs)
        self._encode = self._task.encoder(self._tokenizer, description, self.labels)

    def encode(self, texts: Sequence[str], kind: Sequence[str | None] | str | None = None) -> NDArray[np.float32]:
        """The vectors of texts, float32 (texts, dimensions), in their order; batches are made by length.

        :param kind: What the texts are, ``query`` or ``passage`` or another prompt of the model: of all, or of each;
            none: what the model takes for granted.
        :raises CompressError: If the model gives no vectors, there is no such prompt, or the input is no texts.
        """
        if not self._task.VECTORS:
            raise CompressError(f"encode: {self.description.name} is for {self.description.task}; ask predict")
        return self.vectors_of(self.read(texts, kind=kind))

    def read(
        self,
        texts: Sequence[Any],
        text_pairs: Sequence[str] | None = None,
        languages: Sequence[str] | str | None = None,
        kind: Sequence[str | None] | str | None = None,
    ) -> list[TextRead]:
        """Texts as `predict` or `encode` reads them, for those who ask later and together with others.

        :raises CompressError: If the input is not what the task reads.
        """
        rows = self._rows(texts, text_pairs, languages)
        if self.description.reads == "text":
            return [TextRead(row, ()) for row in rows]
        found: list[list[Example]] = [[] for _ in rows]
        kinds = [kind] * len(rows) if kind is None or isinstance(kind, str) else list(kind)
        if len(kinds) != len(rows):
            raise CompressError(f"encode: {len(rows)} texts, {len(kinds)} kinds; there must be as many")
        with self._tokenizing:
            if self._task.VECTORS:
                found = [[self._example(row, of)] for row, of in zip(rows, kinds, strict=True)]
            else:
                for example in self._encode(rows):
                    found[example["row"]].append(example)
        return [TextRead(row, own) for row, own in zip(rows, found, strict=True)]

    def vectors_of(self, read: Sequence[TextRead]) -> NDArray[np.float32]:
        """The vectors of texts that were read, as `encode` gives them."""
        found = self._found([example for one in read for example in one.examples])
        return np.stack(found).astype(np.float32) if found else np.zeros((0, 0), np.float32)

    def answers_to(self, read: Sequence[TextRead]) -> list[Answer]:
        """The answers to texts that were read, as `predict` gives them."""
        rows = [one.row for one in read]
        if self.description.reads == "text":
            return self._answers(rows)
        examples = [{**example, "row": place} for place, one in enumerate(read) for example in one.examples]
        found = self._found(examples)
        return self._told(found, self._decoded(found, examples, rows))

    def _example(self, row: Row, kind: str | None) -> Example:
        """A text behind its prompt."""
        (example,) = self._task.encoder(self._tokenizer, self.description.asked_as(kind), self.labels)([row])
        return example

    def predict(
        self,
        texts: Sequence[Any],
        text_pairs: Sequence[str] | None = None,
        languages: Sequence[str] | str | None = None,
    ) -> list[Answer]:
        """Answer to texts, in their order; batches are made by length.

        :param texts: Texts, or lists of words where each word has a label.
        :param text_pairs: The second text of each pair; where questions are answered, the texts to find answers in.
        :param languages: For translation, from which language to which, as ``de-en``: one for all, or one each.
        :raises CompressError: If the input is not what the task reads.
        """
        rows = self._rows(texts, text_pairs, languages)
        return self._answers(rows) if rows else []

    def rank(self, query: str, passages: Sequence[str]) -> list[Ranked]:
        """The passages by how well they answer a query, the best first; of equals in their order.

        :raises CompressError: If the model does not rank, or the input is no text and list of texts.
        """
        if not self._task.RANKS:
            raise CompressError(f"rank: {self.description.name} is for {self.description.task}; ask predict")
        if not isinstance(query, str):
            raise CompressError(f"rank: the query must be a text, got {type(query).__name__}")
        if isinstance(passages, str) or not isinstance(passages, Collection):
            raise CompressError(f"rank: passages must be a list of texts, got {type(passages).__name__}")
        listed = list(passages)  # of a data frame's column too, whose numbers are no places
        scores = [answer.prediction for answer in self.predict([query] * len(listed), listed)]
        places = sorted(range(len(listed)), key=lambda place: -scores[place])
        return [Ranked(listed[place], scores[place], place) for place in places]

    def outputs(self, rows: Sequence[Row]) -> tuple[list[NDArray[Any]], list[Prediction]]:
        """What the model puts out for each example that rows become, and the predictions, one a row.

        Outputs are float32 (classes,) or (tokens, classes), or the tokens that are written, int64 (tokens,). A model
        that reads text in the graph has none.

        :raises CompressError: If an output is infinite or not a number.
        """
        with self._tokenizing:
            examples = self._encode(rows)
        found = self._found(examples)
        return found, self._decoded(found, examples, rows)

    def _found(self, examples: Sequence[Example]) -> list[NDArray[Any]]:
        """The model's outputs, which are numbers."""
        found = predict_examples(
            self._predict,
            self._task,
            examples,
            self._tokenizer.pad_token_id,
            _BATCH_SIZE,
            batch_tokens=self._batch_tokens,
        )
        check_outputs(self.description.name, found, _ASK_ANOTHER)
        return found

    def _inputs(self, tokens: int) -> dict[str, NDArray[Any]]:
        """A row of so many tokens as the model reads it, int64 (1, tokens) by name."""
        row = {name: [0] * tokens for name in self._tokenizer.model_input_names if name != "attention_mask"}
        return pad([row], self._tokenizer.pad_token_id)

    def _from_tokens(self, rows: list[Row]) -> list[Answer]:
        return self._told(*self.outputs(rows))

    def _told(self, outputs: Sequence[NDArray[Any]], predictions: Sequence[Prediction]) -> list[Answer]:
        told = [self._task.told(said, self.description.activation) for said in predictions]
        probabilities = self._task.probabilities(outputs)
        if probabilities is None:
            return [Answer(said) for said in told]
        return [Answer(said, _by_label(self.labels, found)) for said, found in zip(told, probabilities, strict=True)]

    def _decoded(self, outputs: list[NDArray[Any]], examples: list[Example], rows: Sequence[Row]) -> list[Prediction]:
        with self._tokenizing:
            thresholds = self.description.thresholds
            return self._task.decode(outputs, examples, rows, self.labels, self._tokenizer, thresholds)

    def _rows(
        self, texts: Sequence[Any], text_pairs: Sequence[str] | None, languages: Sequence[str] | str | None
    ) -> list[Row]:
        """The texts as training read them: in Unicode's NFC, without space around them."""
        for what, given in (("texts", texts), ("text_pairs", text_pairs), ("languages", languages)):
            if isinstance(given, str) and what != "languages":
                raise CompressError(f"predict: {what} must be a list of texts, got one text; put it in a list")
            if not isinstance(given, Collection) and (given is not None or what == "texts"):
                raise CompressError(f"predict: {what} must be a list of texts, got {type(given).__name__}")
        if self.description.pairs != (text_pairs is not None):
            wanted = "pairs: give text_pairs too" if self.description.pairs else "single texts: leave out text_pairs"
            raise CompressError(f"predict: {self.description.name} reads {wanted}")
        spread = [languages] * len(texts) if languages is None or isinstance(languages, str) else languages
        pairs = [None] * len(texts) if text_pairs is None else text_pairs
        if not len(texts) == len(pairs) == len(spread):
            raise CompressError(
                f"predict: {len(texts)} texts, {len(pairs)} text pairs, {len(spread)} languages; there must be as many"
            )
        columns = {role: name for role, name in self._task.FIELDS.items() if role != "label"}
        columns |= {"text_pair": columns.get("text_pair", "text_pair")} if self.description.pairs else {}
        rows = [
            self._task.read_row(f"predict: text {number}", self._task.content(*parts), columns)
            for number, parts in enumerate(zip(texts, pairs, spread, strict=True))
        ]
        cut_off = (number for number, row in enumerate(rows) if self.description.reads == "text" and "\0" in row.text)
        if (number := next(cut_off, None)) is not None:
            raise CompressError(
                f"predict: text {number} has a NUL character, where the tokenizer in the graph would stop; take it "
                "out, or ask a model that reads tokens"
            )
        return rows


def open_model(path: Path, name: str | None = None, threads: int | None = None, memory: int | None = None) -> Model:
    """Open a bundle's model; see `compress.load`.

    :raises CompressError: If there is no such model, it cannot run here, or its memory does not hold it.
    """
    for what, given in (("threads", threads), ("memory", memory)):
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 1):
            raise CompressError(f"{what}={given!r}: wanted is a whole number from 1 on, or none")
    refuse_run(path)
    if not (path / MANIFEST).exists():
        return Model(path, read_description(path), threads, memory=memory)
    folders = {model.name: path / model.folder for model in read_bundle_manifest(path).models}
    if name is not None and name not in folders:
        raise CompressError(f"{path}: has no model '{name}'; it has {', '.join(folders)}")
    reasons = []
    for folder in [folders[name]] if name else folders.values():
        try:
            return Model(folder, read_description(folder), threads, memory=memory)
        except UnavailableError as error:
            reasons.append(str(error))
    raise UnavailableError("; ".join(reasons))


def _runtime(folder: Path, description: Description, task: Task, search: Search, threads: int | None) -> Predict:
    check_complete(folder, task, description.runtime)
    found = runtime_of(folder)
    if found != description.runtime:
        raise CompressError(
            f"{folder}: made for {description.runtime} by its {DESCRIPTION}, for {found} by its files; get the bundle "
            "again"
        )
    try:
        predict = load_predict(folder, task, search, threads, cuda=is_for_gpu(description.target))
    except UnavailableError as error:
        raise UnavailableError(f"{description.name}: {error}; load another model of the bundle") from error
    return predict if description.runtime == "ONNX Runtime" else _one_at_a_time(predict)


def _one_at_a_time(predict: Predict) -> Predict:
    """For runtimes that keep their inputs and outputs in one place."""
    lock = threading.Lock()

    def one_after_the_other(inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        with lock:
            return predict(inputs)

    return one_after_the_other


def _text_reader(folder: Path, description: Description, threads: int | None) -> Callable[[list[Row]], list[Answer]]:
    """A graph with the tokenizer inside."""
    session = onnx_session(folder / "model.onnx", threads, operators=text_operators())

    def answers(rows: list[Row]) -> list[Answer]:
        found: dict[int, Answer] = {}
        order = sorted(range(len(rows)), key=lambda number: len(rows[number].text))
        for start in range(0, len(order), _BATCH_SIZE):
            numbers = order[start : start + _BATCH_SIZE]
            texts = np.array([rows[number].text for number in numbers], dtype=object)
            outputs = session.run(["label", "probabilities"], {"text": texts})
            check_outputs(description.name, outputs[1], _ASK_ANOTHER)
            for number, label, probabilities in zip(numbers, *outputs, strict=True):
                found[number] = Answer(label, _by_label(description.labels, probabilities))
        return [found[number] for number in range(len(rows))]

    return answers


def _by_label(labels: Sequence[str], probabilities: NDArray[np.floating[Any]]) -> dict[str, float]:
    return dict(zip(labels, map(float, probabilities), strict=True))
