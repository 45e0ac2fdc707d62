"""What every section of a recipe is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.contract import Contract

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(Contract):
    """A part of the recipe: no unknown fields, nothing changes afterwards."""


def check_heads(heads: int, hidden_size: int) -> None:
    """Refuse a width that heads do not divide.

    :raises ValueError: Naming both.
    """
    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of heads {heads}")
