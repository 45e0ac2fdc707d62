"""What a training leaves alone: frozen weights, and the embeddings of tokens that do not occur."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_encoders import CONFIGS
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from compress.data.table import RowTable
from compress.errors import CompressError
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer, Training
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.training.collator import Collator
from compress.training.rows import TrainingData, training_data
from compress.training.trainer import TrainingJob, train
from compress.training.weights import OccurringEmbedding, changed_weights

TASK = task_named("text-classification")
ROWS = RowTable.from_rows([Row(text, "ab"[number % 2], "de") for number, text in enumerate(["eins zwei", "drei"] * 4)])
UNUSED = 200
"""Tokens of the models beyond those of the tokenizer."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(["eins zwei drei vier fünf"] * 5, NewTokenizer(vocabulary_size=100), max_length=16)


@pytest.fixture
def data(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> TrainingData:
    return training_data(ROWS, ROWS, TASK.encoder(tokenizer, Data(max_length=16), ["a", "b"]), tmp_path)


def encoder(kind: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = CONFIGS[kind]()
    config.update({"vocab_size": len(tokenizer) + UNUSED, "pad_token_id": tokenizer.pad_token_id})
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config)


def changed(
    model: PreTrainedModel, data: TrainingData, tokenizer: PreTrainedTokenizerBase, folder: Path, **settings: object
) -> dict[str, Tensor]:
    """For each weight of a model whether a short training has changed it."""
    before = {name: values.detach().clone() for name, values in model.named_parameters()}
    job = TrainingJob(
        title="teacher",
        task=TASK,
        data=data,
        settings=Training(epochs=2, batch_size=4, precision="fp32", **settings),
        seed=0,
        scratch=folder / "training",
        logs=folder / "logs",
        collate=Collator(tokenizer, 0.3, 0),
        special=tokenizer.all_special_ids,
    )
    train(model, job)
    assert all(values.requires_grad for values in model.parameters())
    return {name: values != before[name] for name, values in model.named_parameters()}


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "xlm-roberta", "deberta-v2"])
def test_embeddings_of_tokens_that_do_not_occur_stay_and_the_others_learn(kind, tokenizer, data, tmp_path):
    model = encoder(kind, tokenizer)
    found = changed(model, data, tokenizer, tmp_path)
    (table,) = (name for name, values in model.named_parameters() if values is model.get_input_embeddings().weight)
    learnt = set(found[table].any(dim=1).nonzero().flatten().tolist())
    assert type(model.get_input_embeddings()) is nn.Embedding
    assert set(data.train.values_of("input_ids")) <= learnt <= set(range(len(tokenizer)))
    assert tokenizer.mask_token_id in learnt


def test_what_a_model_says_is_the_same_with_the_embeddings_that_occur(tokenizer, data):
    model = encoder("xlm-roberta", tokenizer).eval()
    batch = {name: values for name, values in Collator(tokenizer, 0.0, 0)(list(data.train)).items() if name != "labels"}
    whole = model(**batch).logits
    with changed_weights(model, None, data, tokenizer.all_special_ids):
        part = model.get_input_embeddings()
        assert isinstance(part, OccurringEmbedding)
        assert len(part.weight) < UNUSED < part.places.numel()
        torch.testing.assert_close(model(**batch).logits, whole)
        with pytest.raises(IndexError):
            part(torch.tensor([len(tokenizer) + 1]))
    torch.testing.assert_close(model(**batch).logits, whole)


def test_what_does_not_occur_is_that_of_the_checkpoint_that_is_gone_on_from(tokenizer, data, tmp_path):
    first, other = encoder("bert", tokenizer), encoder("bert", tokenizer)
    changed(first, data, tokenizer, tmp_path)
    with torch.no_grad():
        other.get_input_embeddings().weight.normal_()
    changed(other, data, tokenizer, tmp_path)  # its steps are made already
    assert torch.equal(other.get_input_embeddings().weight, first.get_input_embeddings().weight)


def test_a_table_that_another_reads_stays_whole(tokenizer, data):
    model = encoder("bert", tokenizer)
    with changed_weights(model, "embeddings", data, tokenizer.all_special_ids):
        assert type(model.get_input_embeddings()) is nn.Embedding


@pytest.mark.parametrize(
    ("freeze", "stays"),
    [
        ("embeddings", lambda name: "embeddings" in name),
        (1, lambda name: "embeddings" in name or ".0." in name),
        (2, lambda name: "embeddings" in name or ".layer" in name),
    ],
)
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_what_is_frozen_stays(kind, freeze, stays: Callable[[str], bool], tokenizer, data, tmp_path):
    found = changed(encoder(kind, tokenizer), data, tokenizer, tmp_path, freeze=freeze)
    assert {name for name, values in found.items() if not values.any()} >= {name for name in found if stays(name)}
    assert any(values.any() for name, values in found.items() if not stays(name))
    assert all(values.any() for name, values in found.items() if "classifier" in name and name.endswith("weight"))


def test_nothing_below_a_frozen_layer_is_computed_backwards(tokenizer, data):
    model = encoder("bert", tokenizer)
    with changed_weights(model, 1, data, ()):
        inputs = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2, dtype=torch.int64)}
        states = model(**inputs, output_hidden_states=True).hidden_states
        assert [layer.requires_grad for layer in states] == [False, False, True]


def test_more_layers_than_there_are_cannot_be_frozen(tokenizer, data, tmp_path):
    with pytest.raises(CompressError, match=r"training.freeze: 3 layers, and the model has 2 layers; lower it"):
        changed(encoder("bert", tokenizer), data, tokenizer, tmp_path, freeze=3)
