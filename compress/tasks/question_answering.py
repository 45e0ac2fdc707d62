"""Extractive question answering, as in SQuAD: ``text`` is the question, ``text_pair`` the context with the answer.

``label`` has the answers' ``text`` and where each starts in the context, ``answer_start``, in characters; both are
empty where the context has no answer, as in SQuAD 2 (Rajpurkar et al., 2018). Scores are those of MLQA (Lewis et al.,
2020), which XQuAD uses too: articles by language, Chinese character by character.
"""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from compress.errors import CompressError
from compress.metrics.metric import Metric, mean, share
from compress.tasks import usual
from compress.tasks.contract import Encode, Example, ProblemType, SplitBy, TextSettings, TrainingMetric
from compress.tasks.rows import Row, text_in, value_in

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


FIELDS: Mapping[str, str] = {"text": "question", "text_pair": "context", "label": "answers"}
AUTO_CLASS = "AutoModelForQuestionAnswering"
PROBLEM_TYPE: ProblemType | None = None
OUTPUTS: tuple[str, ...] = ("start_logits", "end_logits")
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
    **usual.LABELS_ONLY,
    **usual.GENERATION_ONLY,
    **usual.VECTORS_ONLY,
}
BUILT_IN = False
SPLIT_BY: SplitBy = "text_pair"  # questions about one context
LONGEST_ANSWER = 30  # tokens
_NO_SPAN = -1e9  # the score of a window without a token of the context: lower than any
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
}
_BY_CHARACTER = ("zh",)


def read_row(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    return Row(
        text=text_in(place, content, columns, "text"),
        text_pair=text_in(place, content, columns, "text_pair"),
        label=_answers(place, content, columns) if "label" in columns else "",
        lang="",
    )


def _answers(place: str, content: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, list[Any]]:
    """The answers, moved to where they are in the context after its normalisation."""
    context, value = (value_in(place, content, columns, role) for role in ("text_pair", "label"))
    texts, starts = (value.get(key) if isinstance(value, Mapping) else None for key in ("text", "answer_start"))
    if texts == starts == []:
        return {"text": [], "answer_start": []}
    if not _are_all(texts, str) or not _are_all(starts, int) or len(texts) != len(starts) or min(starts) < 0:
        raise CompressError(
            f"{place}: field '{columns['label']}' must have lists 'text' and 'answer_start' of the same length, of "
            f"text and of whole numbers, got {reprlib.repr(value)}"
        )
    found = []
    for text, start in zip(texts, starts, strict=True):
        if not text.strip() or context[start : start + len(text)] != text:
            raise CompressError(
                f"{place}: the answer {reprlib.repr(text)} does not stand at character {start} of the context"
            )
        found.append(len(unicodedata.normalize("NFC", context[:start]).lstrip()))
    return {"text": [unicodedata.normalize("NFC", text) for text in texts], "answer_start": found}


def _are_all(values: Any, kind: type) -> TypeGuard[list[Any]]:
    """Whether it is a list with something in it, and all of it of a kind."""
    return isinstance(values, list) and bool(values) and all(type(value) is kind for value in values)


def label_names(row: Row) -> Sequence[str]:
    return []


def texts(row: Row) -> Sequence[str]:
    return [row.text, row.text_pair or ""]


def _lacks_answer(row: Row) -> bool:
    """Whether a row says that the context has no answer."""
    return row.label != "" and not row.label["text"]


def encoder(tokenizer: PreTrainedTokenizerBase, settings: TextSettings, labels: Sequence[str]) -> Encode:
    """Long contexts become windows that overlap; where a window lacks the answer, its first token is the label."""
    room = settings.max_length - tokenizer.num_special_tokens_to_add(pair=True)
    longest_question, shared = room // 2, room // 4  # the rest of a window is new to it
    prefix = usual.written_prefix(settings)

    def encode(rows: Sequence[Row]) -> list[Example]:
        output = tokenizer(
            [_cut(tokenizer, prefix + row.text, longest_question) for row in rows],
            [row.text_pair for row in rows],
            truncation="only_second",
            max_length=settings.max_length,
            stride=shared,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
        )
        offsets, samples = output.pop("offset_mapping"), output.pop("overflow_to_sample_mapping")
        examples = []
        for index, row in enumerate(samples):
            part = output.sequence_ids(index)
            spans = np.array([span if side == 1 else (-1, -1) for span, side in zip(offsets[index], part, strict=True)])
            examples.append(
                {
                    "row": row,
                    "labels": _wanted(rows[row], spans),
                    "starts": spans[:, 0].tolist(),
                    "ends": spans[:, 1].tolist(),
                    **{name: output[name][index] for name in output},
                }
            )
        return examples

    return encode


def _cut(tokenizer: PreTrainedTokenizerBase, question: str, longest: int) -> str:
    """The beginning of a question, so long that it has no more tokens; of byte-level ones a character has several."""
    settings = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
    while len(spans := tokenizer(question, **settings)["offset_mapping"]) > longest:
        question = question[: spans[longest][0]]  # the tokens of what is left may be others, and more
    return question


def _wanted(row: Row, spans: np.ndarray) -> list[int]:
    """Numbers of the first and last token of the first answer; 0 where this window lacks it."""
    if not row.label or _lacks_answer(row):
        return [0, 0]
    answer = row.label["text"][0]
    start = row.label["answer_start"][0] + len(answer) - len(answer.lstrip())  # space is in no token
    end = start + len(answer.strip())
    inside = np.flatnonzero((spans[:, 1] > start) & (spans[:, 0] < end) & (spans[:, 0] >= 0))
    whole = len(inside) and spans[inside[0], 0] <= start and spans[inside[-1], 1] >= end
    return [int(inside[0]), int(inside[-1])] if whole else [0, 0]


model_inputs = usual.encoder_inputs


def positions(outputs: Tensor, mask: Tensor) -> Tensor:
    """Two positions, start and end, whose classes are the tokens."""
    return outputs.masked_fill(mask[:, :, None] == 0, -1e4).transpose(1, 2)


def decode(
    outputs: Sequence[np.ndarray],
    examples: Sequence[Example],
    rows: Sequence[Row],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    thresholds: Sequence[float] = (),
) -> list[str]:
    """The best span of all windows of a row; none where having no answer beats it by more than the threshold."""
    answers, margins = _best_spans(outputs, examples, rows)
    least = min(thresholds, default=np.inf)
    return ["" if margin > least else answer for answer, margin in zip(answers, margins, strict=True)]


def _best_spans(
    outputs: Sequence[np.ndarray], examples: Sequence[Example], rows: Sequence[Row]
) -> tuple[list[str], np.ndarray]:
    """The best span of each row, and by how much its null score is higher than that span's, float (rows,).

    The null score of a window is its first token's, as start and end (Devlin et al., 2019); of a row, the lowest of its
    windows'.
    """
    best, null = [(_NO_SPAN, "")] * len(rows), np.full(len(rows), np.inf)
    for logits, example in zip(outputs, examples, strict=True):
        null[example["row"]] = min(null[example["row"]], logits[0].sum())
        inside = np.flatnonzero(np.array(example["starts"]) >= 0)
        if not len(inside):
            continue
        scores = logits[inside, 0][:, None] + logits[inside, 1][None, :]
        allowed = np.triu(np.ones(scores.shape, dtype=bool)) & ~np.triu(
            np.ones(scores.shape, dtype=bool), LONGEST_ANSWER
        )
        first, last = np.unravel_index(np.where(allowed, scores, -np.inf).argmax(), scores.shape)
        if scores[first, last] > best[example["row"]][0]:
            start, end = example["starts"][inside[first]], example["ends"][inside[last]]
            best[example["row"]] = (scores[first, last], (rows[example["row"]].text_pair or "")[start:end])
    return [answer for _, answer in best], null - np.array([score for score, _ in best])


def needs_thresholds(rows: Iterable[Row]) -> bool:
    return any(_lacks_answer(row) for row in rows)


def thresholds(outputs: Sequence[np.ndarray], examples: Sequence[Example], rows: Sequence[Row]) -> list[float]:
    """By how much the null score must beat the best span for the highest F1, half-way to the next row's, as SQuAD 2's
    evaluation finds it."""
    answers, margins = _best_spans(outputs, examples, rows)
    order = np.argsort(margins, kind="stable")
    # What answering a row gains: all rows are right that lack an answer and get none, and no other.
    gains = [_scores(answers[row], rows[row])[0] - _lacks_answer(rows[row]) for row in order]
    edges = np.concatenate([[margins[order[0]] - 1], margins[order], [margins[order[-1]] + 1]])
    reached = np.where(np.diff(edges) > 0, np.concatenate([[0], np.cumsum(gains)]), -np.inf)
    answered = int(reached.argmax())
    return [float(edges[answered : answered + 2].mean())]


def answered(row: Row, prediction: str, thresholds: Sequence[float] = ()) -> Row | None:
    if not prediction.strip():
        return replace(row, label={"text": [], "answer_start": []}) if thresholds else None
    answers = {"text": [prediction], "answer_start": [(row.text_pair or "").find(prediction)]}
    return replace(row, label=answers)


findings = usual.as_predicted
findings_among = usual.as_found
finding_as_json = finding_of_json = usual.as_it_is
index_forms = usual.no_index_forms


def metrics(predictions: Sequence[str], rows: Sequence[Row], labels: Sequence[str]) -> dict[str, Metric]:
    """F1 and exact match; where every language has questions without an answer, the share of those that get none."""
    scores = [_scores(answer, row) for answer, row in zip(predictions, rows, strict=True)]
    found = {"F1": mean([f1 for f1, _ in scores]), "exact match": mean([exact for _, exact in scores])}
    lacking = [_lacks_answer(row) for row in rows]
    if {row.lang for row in rows} == {row.lang for row, lacks in zip(rows, lacking, strict=True) if lacks}:
        found["NoAns F1"] = share(
            [(int(f1) * lacks, int(lacks)) for (f1, _), lacks in zip(scores, lacking, strict=True)]
        )
    return found


def _scores(answer: str, row: Row) -> tuple[float, float]:
    """F1 and exact match, the better of a row's answers; where it has none, whether none is given."""
    given, wanted = _normalised(answer, row.lang), [_normalised(text, row.lang) for text in row.label["text"] or [""]]
    exact = float(given in wanted)
    return exact if _lacks_answer(row) else max(_f1(given, one) for one in wanted), exact


def _normalised(answer: str, language: str) -> list[str]:
    """Words without case, punctuation and articles; Chinese characters are words."""
    kept = "".join(character for character in answer.lower() if not unicodedata.category(character).startswith("P"))
    kept = "".join(character for character in kept if character not in "$+<=>^`|~")  # ASCII signs count as well
    if language in _ARTICLES:
        kept = re.sub(_ARTICLES[language], " ", kept)
    if language in _BY_CHARACTER:
        kept = re.sub(r"([一-龥])", r" \1 ", kept)
    return kept.split()


def _f1(answer: list[str], wanted: list[str]) -> float:
    shared = sum((Counter(answer) & Counter(wanted)).values())
    return 2 * shared / (len(answer) + len(wanted)) if shared else 0.0


probabilities = usual.no_probabilities
agreed = usual.rows_agreed
label_counts = usual.no_label_counts
languages_in = usual.one_language
read_before = usual.prefix_alone
written_before = usual.prefix_before
asking_tokens = usual.no_asking_tokens
rows_learnt = usual.row_alone
told = usual.told_as_it_is


def question(row: Row) -> dict[str, str]:
    return {"TEXT": row.text, "TEXT_PAIR": row.text_pair or ""}


served_text = usual.plain_text


def example_call(row: Row) -> str:
    return '["a question"], ["a text that answers it"]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    return {FIELDS["text"]: text, FIELDS["text_pair"]: text_pair}
