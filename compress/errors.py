"""The one error that users see."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


_LONGEST = 300  # characters of what another library says; it may repeat a whole file


class CompressError(Exception):
    """Something the user can mend. The message is one line: what is wrong, where, and what to do about it."""


class UnavailableError(CompressError):
    """What this machine lacks: a GPU, or a package that is not installed."""


class RejectedVariantError(CompressError):
    """A variant that is not good enough, or cannot be on the rows that there are: a finding where others are enough."""


def first_line(error: Exception) -> str:
    """What another library says, without the lines that explain it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:_LONGEST]


def first_problem(error: ValidationError) -> str:
    """The first field of a file that is not as it must be, and what is wrong with it."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else problem["msg"]
