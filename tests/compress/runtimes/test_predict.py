"""Outputs that nothing can be said by."""

import numpy as np
import pytest

from compress.errors import CompressError
from compress.runtimes.predict import check_outputs


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_no_numbers_are_refused_and_others_are_not(wrong: float):
    outputs = [np.array([1e38, -2.0], np.float32), np.array([0.0, wrong], np.float32), np.array([7, 8])]
    check_outputs("teacher", [outputs[0], outputs[2]], "train it again")
    with pytest.raises(CompressError) as refused:
        check_outputs("teacher", outputs, "train it again")
    assert str(refused.value) == ("teacher: its outputs are infinite or not a number for 1 of 3 rows; train it again")
