"""What the bench stage returns."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.runs.manifest import Stage


class BenchSummary(Contract):
    """The models that were measured, and on which rows."""

    models: list[str]
    rows: str = Field(description="SHA-256 of the test rows")


BENCH = Stage("bench", BenchSummary)
