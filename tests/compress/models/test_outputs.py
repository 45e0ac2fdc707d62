"""Reading outputs, on values computed by hand."""

import torch

from compress.models.outputs import mean_pooled


def test_sentence_vectors_are_means_of_real_tokens():
    states = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert mean_pooled(states, torch.tensor([[1, 1, 0]])).item() == 2.0
