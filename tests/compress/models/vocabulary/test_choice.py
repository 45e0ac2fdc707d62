"""Which tokens are kept, by what was counted."""

import numpy as np
import pytest

from compress.models.vocabulary.anatomy import Counts
from compress.models.vocabulary.choice import _ranked
from compress.recipe.teacher import Vocabulary


@pytest.mark.filterwarnings("error")
def test_a_language_whose_text_has_no_tokens_decides_nothing():
    used, none = np.array([1, 2, 0]), np.zeros(3, dtype=np.int64)
    counts = {"de": Counts(1, used, used, used), "xx": Counts(1, none, none, none)}
    assert _ranked(counts, Vocabulary(trim=True)) == [1, 0]
