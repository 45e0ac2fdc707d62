"""How the page asks a model: what the tokenizer puts around texts, which Python tells JavaScript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.serving.format import Description
from compress.tasks.contract import Task
from compress.tasks.prompts import PASSAGE, QUERY
from compress.tasks.rows import Row
from export.bundle.web.summary import SpecialToken, WebWay

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def ways_of(
    task: Task, tokenizer: PreTrainedTokenizerBase, model: Description, languages: Sequence[str]
) -> list[WebWay]:
    """Every way in which a model is asked, the usual one first.

    :param languages: Where texts are translated: from which into which.
    """
    rows = {"": Row("a", "", "")}
    if task.VECTORS and model.prompts:
        rows |= {kind: Row("a", "", "", kind=kind) for kind in (QUERY, PASSAGE, *model.prompts)}
    if task.GENERATES:
        rows = {pair: Row("a", "", pair) for pair in languages}
    return [_way(task, tokenizer, model, name, row) for name, row in rows.items()]


def way_of(task: Task, row: Row, ways: Sequence[WebWay]) -> str:
    """The way in which a row is asked about, as its examples are made of it."""
    name = row.lang if task.GENERATES else row.kind
    return next((way.name for way in ways if way.name == name), "")


def _way(task: Task, tokenizer: PreTrainedTokenizerBase, model: Description, name: str, row: Row) -> WebWay:
    prefix = task.written_before(tokenizer, model, row)
    prompt = task.encoder(tokenizer, model, [])([row])[0].get("prompt", []) if task.GENERATES else []
    return WebWay(name=name, prefix=prefix, prompt=prompt, **_around(tokenizer, pairs=model.pairs))


def _around(tokenizer: PreTrainedTokenizerBase, *, pairs: bool) -> Mapping[str, Any]:
    """Special tokens before, between and after the tokens of texts, as `WebWay` has them."""
    encoded = tokenizer("a", "a") if pairs else tokenizer("a")
    sides = encoded.sequence_ids(0)
    types = encoded.get("token_type_ids") or [0] * len(sides)
    tokens = [SpecialToken(id=number, type=kind) for number, kind in zip(encoded["input_ids"], types, strict=True)]
    inside = [place for place, side in enumerate(sides) if side is not None]
    first, second = ([place for place in inside if sides[place] == side] for side in (0, 1))
    return {
        "before": tokens[: inside[0]],
        "between": tokens[first[-1] + 1 : second[0]] if second else [],
        "after": tokens[inside[-1] + 1 :],
        "first_type": types[first[0]],
        "second_type": types[second[0]] if second else 0,
    }
