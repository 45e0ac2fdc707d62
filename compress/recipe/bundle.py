"""The recipe's section on what is handed over."""

from __future__ import annotations

from pydantic import Field

from compress.recipe.section import Section


class Bundle(Section):
    """What nobody but the user can say."""

    license: str | None = Field(None, description="of the packed models, as the model card is to name it: Apache-2.0")
    data_license: str | None = Field(None, description="of the rows: CC-BY-4.0")
    teacher_license: str | None = Field(None, description="of the pretrained teacher")
