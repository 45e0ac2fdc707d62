"""The recipe's sections on evaluating, and on how text is generated."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compress.recipe.section import Few, Section


class Generation(Section):
    """How translations are searched for, at most ``data.max_length`` tokens."""

    beams: Few = Field(1, description="1: the most likely token each time")
    length_penalty: Annotated[float, Field(ge=-1000, le=1000)] = Field(
        1.0, description="more than 0 favours long translations, less short ones"
    )


class Evaluation(Section):
    """What is compared beside teacher and student."""

    baseline: bool = Field(False, description="also fit TF-IDF with logistic regression, for comparison")
