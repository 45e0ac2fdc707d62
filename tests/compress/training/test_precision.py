"""What a training computes with."""

import pytest
import torch

from compress.recipe.training import Training
from compress.training import precision
from compress.training.precision import compute_precision, threads_for


@pytest.mark.parametrize(("multiplies", "taken"), [(True, "bf16"), (False, "fp32")])
def test_half_precision_is_taken_by_itself_where_the_processor_multiplies_in_it(multiplies, taken, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "_cpu_multiplies_bf16", lambda: multiplies)
    assert compute_precision(Training()) == taken
    assert compute_precision(Training(precision="fp32")) == "fp32"
    assert compute_precision(Training(precision="bf16")) == "bf16"


def test_threads_are_those_of_the_recipe_until_the_training_ends():
    before = torch.get_num_threads()
    with threads_for(Training(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    with threads_for(Training()):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
