"""What is left of vectors that an index keeps in fewer bytes."""

import numpy as np
import pytest

from compress.metrics.stored import kept, stored_forms

VECTORS = np.array([[0.5, -1.27, 0.006], [0.0, 2.0, -4.0]], dtype=np.float32)


def test_forms_are_told_with_their_bytes():
    told = {form.name: form.bytes for form in stored_forms(100, [64, 100])}
    assert told == {"int8": 100, "binary": 13, "first 64": 256}


def test_int8_is_in_steps_of_the_largest_number_over_127():
    int8, *_ = stored_forms(3)
    assert kept(VECTORS, int8) == pytest.approx(np.array([[0.5, -1.27, 0.01], [0, 2.0157, -4.0]]), abs=1e-4)


def test_of_a_bit_the_sign_is_left_and_of_a_cut_vector_the_first_numbers():
    _, binary, cut = stored_forms(3, [2])
    assert np.sign(kept(VECTORS, binary)).tolist() == [[1, -1, 1], [1, 1, -1]]
    assert kept(VECTORS, binary)[1] == pytest.approx([2, 2, -2])
    assert kept(VECTORS, cut)[:, 2].tolist() == [0, 0]
    assert kept(VECTORS, cut)[:, :2] == pytest.approx(VECTORS[:, :2])
