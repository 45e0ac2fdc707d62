"""What checking a bundle finds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from compress.contract import Contract


class Check(Contract):
    """One check, and what was found."""

    what: str
    passed: bool | None = Field(description="null: it could not be made here")
    found: str


class Verification(Contract):
    """What was found of a bundle."""

    bundle: str
    verdict: Literal["pass", "fail"] = Field(description="fail as soon as one check fails")
    checks: list[Check]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return self.verdict == "pass"
