"""What a training computes with."""

import pytest
import torch

from compress.recipe.training import Training
from compress.training.precision import compute_precision, threads_for


def test_cpus_train_in_32_bits_unless_the_recipe_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert compute_precision(Training()) == "fp32"
    assert compute_precision(Training(precision="bf16")) == "bf16"


def test_threads_are_those_of_the_recipe_until_the_training_ends():
    before = torch.get_num_threads()
    with threads_for(Training(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    with threads_for(Training()):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
