"""What every section of a recipe is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from compress.contract import Contract

# Numbers beyond these bounds are slips of the hand: no machine holds the model, no day sees the end of the training.
Positive = Annotated[int, Field(gt=0, le=10**9)]
Few = Annotated[int, Field(gt=0, le=1000)]
Width = Annotated[int, Field(gt=0, le=100_000)]
Epochs = Annotated[float, Field(gt=0, le=100_000)]
NonEmpty = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(Contract):
    """A part of the recipe: no unknown fields, finite numbers, nothing changes afterwards."""

    model_config = ConfigDict(allow_inf_nan=False)


def check_heads(heads: int, hidden_size: int) -> None:
    """Refuse a width that heads do not divide.

    :raises ValueError: Naming both.
    """
    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of heads {heads}")
