"""What rooms hand to one another: frozen models that know every field of theirs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A model without unknown fields that does not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
