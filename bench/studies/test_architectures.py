"""All architectures the whole road: each is made, or refused in one line; none ends its process."""

from __future__ import annotations

import pytest

from bench.studies.architecture_models import ARCHITECTURES
from bench.studies.architectures import tried


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.timeout(1200)
def test_an_architecture_is_made_or_refused_in_one_line(name: str) -> None:
    entry = tried(name)
    assert entry.failure is None
    assert not [line for line in entry.refusals if "\n" in line]
