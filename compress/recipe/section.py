"""What every section of a recipe is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, ValidatorFunctionWrapHandler, field_validator

from compress.contract import Contract

# Numbers beyond these bounds are slips of the hand: no machine holds the model, no day sees the end of the training.
Positive = Annotated[int, Field(gt=0, le=10**9)]
Few = Annotated[int, Field(gt=0, le=1000)]
Width = Annotated[int, Field(gt=0, le=100_000)]
Epochs = Annotated[float, Field(gt=0, le=100_000)]
LearningRate = Annotated[float, Field(gt=0, le=1000)]
Weight = Annotated[float, Field(ge=0, le=1_000_000)]
NonEmpty = Annotated[str, Field(min_length=1)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(Contract):
    """A part of the recipe: no unknown fields, finite numbers, truth values that are no numbers, nothing changes
    afterwards."""

    model_config = ConfigDict(allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _truth_is_no_number(cls, written: object, read: ValidatorFunctionWrapHandler) -> object:
        taken = read(written)
        if isinstance(taken, list | tuple) and isinstance(written, list | tuple):
            pairs = list(zip(written, taken, strict=True))
        else:
            pairs = [(written, taken)]
        for one, other in pairs:
            if isinstance(other, bool) and not isinstance(one, bool):
                raise ValueError("must be true or false")
            if isinstance(one, bool) and not isinstance(other, bool):
                raise ValueError("must be a number, and YAML reads true or false here")
        return taken


def check_heads(heads: int, hidden_size: int) -> None:
    """Refuse a width that heads do not divide.

    :raises ValueError: Naming both.
    """
    if hidden_size % heads:
        raise ValueError(f"hidden_size {hidden_size} must be a multiple of heads {heads}")
