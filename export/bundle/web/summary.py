"""What is packed for browsers, and what the page reads of it (`page/pack.json`)."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.runs.manifest import Stage
from compress.variants.registry import BrowserPrecision


class WebVariant(Contract):
    """A variant that the page can open."""

    name: str
    dtype: BrowserPrecision = Field(description="what transformers.js calls it")
    bytes: int


class WebExample(Contract):
    """A test row to try the model on."""

    lang: str
    text: str


class WebPack(Contract):
    """All that the page must know beside the model's own files."""

    name: str
    max_length: int = Field(description="tokens of a text; longer ones are cut")
    prefix: str = Field(description="stands before each text")
    variants: list[WebVariant]
    examples: list[WebExample] = Field(description="one a language")


class WebSummary(Contract):
    """What was packed."""

    variants: list[WebVariant]
    bytes: int = Field(description="of all files, libraries included")
    texts: int = Field(description="whose tokens are the same in JavaScript as in Python")


WEB = Stage("web", WebSummary)
