"""`compress recipe`: what a recipe may say."""

from __future__ import annotations

from typing import Annotated

import typer

from compress.cli.outcome import written_output

EPILOG = (
    "Examples:\n\n"
    "  compress recipe > my.yaml                     every field with its default, and what it means\n\n"
    "  compress recipe --schema > recipe.schema.json  for an editor: # yaml-language-server: $schema=recipe.schema.json"
)


def recipe(
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes.")] = False,
) -> None:
    """Print a commented recipe with all fields and their defaults, or its JSON Schema."""
    from compress.recipe.reference import commented_recipe, recipe_schema

    with written_output():
        print(recipe_schema() if schema else commented_recipe(), end="")
