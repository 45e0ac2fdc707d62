"""What stands before a text where models have prompts, by what the text is."""

from __future__ import annotations

from compress.errors import CompressError
from compress.tasks.contract import TextSettings

QUERY, PASSAGE = "query", "passage"
_PASSAGE_NAMES = (PASSAGE, "document", "corpus")
"""What models call the prompt of what is to be found."""


def prompt_of(settings: TextSettings, kind: str | None) -> str:
    """What stands before a text of a kind: a model that has no prompt for queries or passages has its default one.

    :raises CompressError: If there is no such prompt.
    """
    prompts = settings.prompts or {}
    named = next((name for name in (_PASSAGE_NAMES if kind == PASSAGE else (kind,)) if name in prompts), None)
    if named:
        return prompts[named]
    if kind not in (None, QUERY, PASSAGE):
        raise CompressError(f"kind {kind!r}: there is no such prompt; there is {', '.join(sorted(prompts)) or 'none'}")
    return prompts.get(settings.default_prompt, "") if settings.default_prompt else ""


def prompts_by_kind(settings: TextSettings) -> dict[str | None, str]:
    """What stands before a text of which nothing is said, a query, and a passage."""
    return {kind: prompt_of(settings, kind) for kind in (None, QUERY, PASSAGE)}
