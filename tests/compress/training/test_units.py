"""Numbers of any unit are learnt, and said in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from compress.tasks.registry import task_named
from compress.training.units import standard_unit

TASK = task_named("regression")
_SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_labels": 1}
CONFIGS = {
    "a layer alone": transformers.BertConfig(**_SIZES, intermediate_size=16),
    "two layers": transformers.XLMRobertaConfig(**_SIZES, intermediate_size=16),
    "no shift": transformers.LlamaConfig(**_SIZES, intermediate_size=16, pad_token_id=0),
}
LABELS = np.array([20.0, 60.0, 100.0, 40.0])


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def model(request) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    return transformers.AutoModelForSequenceClassification.from_config(request.param).eval()


@pytest.fixture
def sample() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[1, 5, 7, 2], [1, 9, 4, 2]])
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.tensor([[20.0], [100.0]])}


def said(model: transformers.PreTrainedModel, sample: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return model(**{name: values for name, values in sample.items() if name != "labels"}).logits


def test_a_new_model_begins_near_the_labels_in_their_unit(model, sample):
    before = said(model, sample)
    with standard_unit("student", model, TASK, LABELS, sample) as unit:
        assert torch.equal(said(model, sample), before)
        labels = unit.of(torch.tensor(LABELS))
        assert labels.square().mean() == pytest.approx(1)
    assert torch.allclose(said(model, sample), unit.undone(before), atol=1e-4)
    shifts = unit.mean == pytest.approx(55)
    assert shifts or unit.mean == 0  # of a layer that cannot


def test_what_speaks_of_labels_already_says_the_same_after_a_training_that_changes_nothing(model, sample):
    (head,) = [part for part in model.modules() if isinstance(part, torch.nn.Linear) and part.out_features == 1]
    with torch.no_grad():
        head.weight.mul_(30)
        if head.bias is not None:
            head.bias.fill_(55)
        else:  # it says what the labels are, as closely as it can
            sample["labels"] = said(model, sample)
    before = said(model, sample)
    with standard_unit("student", model, TASK, LABELS, sample) as unit:
        assert torch.allclose(said(model, sample), unit.of(before), atol=1e-4)
    assert torch.allclose(said(model, sample), before, atol=1e-3)


def test_labels_are_learnt_as_they_are_where_the_last_layer_is_not_what_is_said(sample, capsys):
    class Squashed(transformers.BertForSequenceClassification):
        def forward(self, *args, **kwargs):
            outputs = super().forward(*args, **kwargs)
            outputs.logits = outputs.logits.sigmoid()
            return outputs

    model = Squashed(CONFIGS["a layer alone"]).eval()
    before = said(model, sample)
    with standard_unit("teacher", model, TASK, LABELS, sample) as unit:
        assert unit is None
    assert torch.equal(said(model, sample), before)
    assert "teacher: the model does not end with a linear layer" in " ".join(capsys.readouterr().err.split())


def test_labels_that_are_all_the_same_are_a_unit_too(model, sample):
    with standard_unit("teacher", model, TASK, np.array([3.0, 3.0]), sample) as unit:
        assert unit.deviation > 0
        assert torch.isfinite(unit.of(torch.tensor([3.0]))).all()
