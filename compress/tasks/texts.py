"""What tasks share whose rows are texts or pairs of texts, each with one target for the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.tasks import usual
from compress.tasks.contract import Encode, Example, TextSettings
from compress.tasks.rows import Row, text_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "text"
"""The field of a text where the recipe names no other."""


def text_row(
    place: str,
    content: Mapping[str, Any],
    columns: Mapping[str, str],
    label: Callable[[str, Mapping[str, Any], Mapping[str, str], str], Any],
) -> Row:
    """`Task.read_row` of a text or pair.

    :param label: Reads the field of that role, as `compress.tasks.rows.name_in` does.
    """
    return Row(
        text=text_in(place, content, columns, "text"),
        text_pair=text_in(place, content, columns, "text_pair") if "text_pair" in columns else None,
        label=label(place, content, columns, "label") if "label" in columns else "",
        lang="",
    )


def texts(row: Row) -> Sequence[str]:
    """`Task.texts` of a text or pair."""
    return [row.text] if row.text_pair is None else [row.text, row.text_pair]


def text_encoder(
    tokenizer: PreTrainedTokenizerBase, settings: TextSettings, targets: Callable[[Row], list[Any]]
) -> Encode:
    """`Task.encoder` of texts or pairs: an example a row.

    :param targets: The ``labels`` of a row's example.
    """
    prefix = usual.written_prefix(settings)

    def encode(rows: Sequence[Row]) -> list[Example]:
        pairs = [row.text_pair for row in rows]
        output = tokenizer(
            [prefix + row.text for row in rows],
            None if all(pair is None for pair in pairs) else pairs,
            truncation=True,
            max_length=settings.max_length,
            return_attention_mask=False,
        )
        return [
            {"row": index, "labels": targets(row), **{name: output[name][index] for name in output}}
            for index, row in enumerate(rows)
        ]

    return encode


def question(row: Row) -> dict[str, str]:
    """`Task.question` of a text or pair."""
    return {"TEXT": row.text, **({} if row.text_pair is None else {"TEXT_PAIR": row.text_pair})}


def example_call(row: Row) -> str:
    """`Task.example_call` of a text or pair."""
    return '["a text"]' if row.text_pair is None else '["a text"], ["another"]'


def content(text: Any, text_pair: str | None, languages: str | None) -> Mapping[str, Any]:
    """`Task.content` of a text or pair."""
    return {TEXT: text, "text_pair": text_pair}
