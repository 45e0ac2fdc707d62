"""What is packed for browsers, and what the page reads of it (`page/pack.json`)."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.runs.manifest import Stage
from compress.serving.format import Description
from compress.variants.registry import BrowserPrecision


class WebVariant(Contract):
    """A variant that the page can open."""

    name: str
    dtype: BrowserPrecision = Field(description="what transformers.js calls it")
    bytes: int = Field(description="of its graphs")


class SpecialToken(Contract):
    """A token that a tokenizer adds."""

    id: int
    type: int = Field(description="0 beside the first of two texts, else 1, where a model tells them apart")


class WebWay(Contract):
    """How a model is asked: what stands around the tokens of a text, or of two."""

    name: str = Field(description="of a prompt, or the languages of a translation; empty: what is usual")
    prefix: str = Field(description="stands before the text itself")
    before: list[SpecialToken]
    between: list[SpecialToken]
    after: list[SpecialToken]
    first_type: int
    second_type: int
    prompt: list[int] = Field(description="what a translation begins with, behind the decoder's first token")


class WebExample(Contract):
    """A test row to try the model on."""

    lang: str
    text: str | list[str] = Field(description="a text, or its words")
    text_pair: str | None
    way: str


class WebPack(Contract):
    """All that the page must know beside the model's own files."""

    name: str
    model: Description
    ways: list[WebWay]
    variants: list[WebVariant]
    examples: list[WebExample] = Field(description="one a language")


class WebSummary(Contract):
    """What was packed."""

    variants: list[WebVariant]
    bytes: int = Field(description="of all files, libraries included")
    texts: int = Field(description="whose tokens are the same in JavaScript as in Python")


WEB = Stage("web", WebSummary)
