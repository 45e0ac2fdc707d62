"""What trimming has changed, and what it costs."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract


class TextLoss(Contract):
    """What the text of a language loses."""

    texts: int
    tokens: int
    lost_share: float = Field(description="of its tokens, which are dropped: their text is spelled by others")
    changed_share: float = Field(description="of its texts, which are split differently")


class UsedText(TextLoss):
    """The same of text that says what is kept."""

    expected_share: float = Field(
        description="of the tokens of new text of this kind that are likely lost: those of each text that would be if "
        "it had not said what is kept (after Good, 1953)"
    )


class TrimmingSummary(Contract):
    """What trimming has changed."""

    tokens_before: int = Field(description="rows of the embeddings, those without a token included")
    tokens_after: int
    saved_megabytes: float
    used: dict[str, UsedText] = Field(description="by language, of the text that says what is kept")
    held_out: dict[str, TextLoss] = Field(description="by language, of text that nothing was chosen by")
