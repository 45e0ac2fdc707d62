"""What the bundle stage returns."""

from __future__ import annotations

from pydantic import Field

from compress.contract import Contract
from compress.runs.manifest import Stage


class BundleSummary(Contract):
    """What was packed."""

    models: dict[str, str] = Field(description="by name: what each was made for")
    bytes: int = Field(description="of all files that the manifest names")
    digest: str = Field(description="of the bundle's manifest")
    signed: bool


BUNDLE = Stage("bundle", BundleSummary)
