"""What the site has from elsewhere: the recipe's reference, from its models, the variants, from the README, and the
architectures, from their study's results."""

from __future__ import annotations

import re
from pathlib import Path

from bench.studies.architectures import markdown
from compress.recipe.reference import reference_page

README = Path(__file__).parents[1] / "README.md"


def on_page_markdown(source: str, **_: object) -> str:
    """MkDocs calls it for each page before it is rendered."""
    text = re.sub(r"<!-- recipe reference: .*? -->", lambda _: reference_page(), source)
    text = re.sub(r"<!-- architectures: .*? -->", lambda _: markdown(), text)
    return re.sub(r"<!-- variants: from the README -->", lambda _: variants_table(), text)


def variants_table() -> str:
    """The table between the README's markers."""
    text = README.read_text("utf-8")
    return text.partition("<!-- variants: begin -->")[2].partition("<!-- variants: end -->")[0].strip()
