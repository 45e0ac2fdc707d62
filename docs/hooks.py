"""What the site has from elsewhere: the recipe's reference, from its models, and the variants, from the README."""

from __future__ import annotations

import re
from pathlib import Path

from compress.recipe.reference import reference_page

README = Path(__file__).parents[1] / "README.md"


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls it for each page before it is rendered."""
    markdown = re.sub(r"<!-- recipe reference: .*? -->", lambda _: reference_page(), markdown)
    return re.sub(r"<!-- variants: from the README -->", lambda _: variants_table(), markdown)


def variants_table() -> str:
    """The table between the README's markers."""
    text = README.read_text("utf-8")
    return text.partition("<!-- variants: begin -->")[2].partition("<!-- variants: end -->")[0].strip()
