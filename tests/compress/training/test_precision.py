"""What a training computes with."""

import pytest
import torch

from compress.machine import CpuFeatures
from compress.recipe.training import Training
from compress.training import precision
from compress.training.precision import compute_precision, threads_for


@pytest.mark.parametrize(
    ("features", "taken"),
    [
        (CpuFeatures("x86_64", "old", avx2=True), "fp32"),
        (CpuFeatures("x86_64", "new", "AuthenticAMD", avx512_bf16=True), "bf16"),
        (CpuFeatures("x86_64", "half as fast in bf16", "GenuineIntel", avx512_bf16=True), "fp32"),
        (CpuFeatures("x86_64", "with AMX", "GenuineIntel", avx512_bf16=True, amx_bf16=True), "bf16"),
        (CpuFeatures("aarch64", "not told"), "bf16"),
    ],
)
def test_cpus_train_in_32_bits_unless_the_recipe_says_otherwise_and_they_can(
    features: CpuFeatures, taken: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(precision, "cpu_features", lambda: features)
    assert compute_precision(Training()) == "fp32"
    assert compute_precision(Training(precision="bf16")) == taken


def test_threads_are_those_of_the_recipe_until_the_training_ends():
    before = torch.get_num_threads()
    with threads_for(Training(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    with threads_for(Training()):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
