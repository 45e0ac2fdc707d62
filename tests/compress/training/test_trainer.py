"""What the trainer is given: batches, hidden tokens, balanced languages."""

import re
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import small_encoders
import torch

from compress.data.encode import LengthBucketSampler
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.models.load import model_class
from compress.models.tokenizers import train_tokenizer
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer, Training
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.training import memory
from compress.training.collator import Collator
from compress.training.rows import TrainingData, training_data
from compress.training.trainer import TrainingJob, _accuracies, _arguments, last_whole_checkpoint, train

TEXTS = ("eins zwei drei vier fünf sechs", "eins", "zwei drei vier")
ROWS = RowTable.from_rows([Row(text, label, "de") for text, label in zip(TEXTS, "abc", strict=True)])


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(list(TEXTS) * 5, NewTokenizer(vocabulary_size=100), max_length=64)


@pytest.fixture
def rows(tokenizer, tmp_path) -> TrainingData:
    encode = task_named("text-classification").encoder(tokenizer, Data(max_length=64), ["a", "b", "c"])
    return training_data(ROWS, ROWS, encode, tmp_path)


def batch_of(tokenizer, rows: TrainingData, numbers: list[int], epoch: int, probability: float = 0.5) -> torch.Tensor:
    collate = Collator(tokenizer, probability, seed=3)
    collate.epoch = epoch
    return collate(rows.train.__getitems__(numbers))["input_ids"]


def test_what_is_hidden_of_a_row_depends_on_the_epoch_and_not_on_its_neighbours(tokenizer, rows):
    together, alone = batch_of(tokenizer, rows, [0, 1, 2], epoch=1), batch_of(tokenizer, rows, [2], epoch=1)
    assert torch.equal(together[2, : alone.shape[1]], alone[0])
    assert not torch.equal(batch_of(tokenizer, rows, [0], epoch=1), batch_of(tokenizer, rows, [0], epoch=2))


def test_special_tokens_and_padding_are_never_hidden(tokenizer, rows):
    ids = batch_of(tokenizer, rows, [0, 1], epoch=0, probability=1.0)
    visible = ids[ids != tokenizer.mask_token_id].tolist()
    assert set(visible) == {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}


def test_validation_rows_are_not_hidden_and_in_order_of_length(tokenizer, rows):
    assert [row["labels"] for row in rows.validation] == [[1], [2], [0]]
    ids = Collator(tokenizer, 1.0, seed=0)(list(rows.validation))["input_ids"]
    assert tokenizer.mask_token_id not in ids


def test_every_row_comes_in_an_epoch_in_full_batches_of_similar_length():
    lengths = [index % 50 for index in range(995)]
    sampler = LengthBucketSampler(lengths, 10, seed=0)
    order = list(sampler)
    assert len(order) == len(sampler) == 1000
    assert set(order) == set(range(995))
    spans = [max(part) - min(part) for part in
             ([lengths[row] for row in order[start : start + 10]] for start in range(0, 1000, 10))]  # fmt: skip
    assert sum(spans) / len(spans) < 2


@pytest.mark.parametrize(("exponent", "share"), [(1.0, 0.1), (0.5, 0.25), (0.0, 0.5)])
def test_languages_are_drawn_with_their_number_to_a_power(exponent: float, share: float):
    languages = ["sw"] * 100 + ["en"] * 900
    sampler = LengthBucketSampler([5] * 1000, 10, seed=0, languages=languages, exponent=exponent)
    drawn = Counter(languages[row] for row in sampler)
    assert drawn.total() == 1000
    assert drawn["sw"] / 1000 == pytest.approx(share, abs=0.01)
    if exponent == 0.0:  # no row of a small language is drawn much more often than another
        assert set(Counter(row for row in sampler if row < 100).values()) == {5}


def test_accuracy_is_told_by_language():
    class Prediction:
        predictions = torch.tensor([[0, 5], [1, 5], [1, 5]]).numpy()
        label_ids = torch.tensor([[0, -100], [1, -100], [0, -100]]).numpy()

    found = _accuracies(Prediction(), ["de", "de", "ja"])
    assert found == {"accuracy": pytest.approx(2 / 3), "accuracy_de": 1.0, "accuracy_ja": 0.0}


def test_a_checkpoint_that_was_not_written_to_its_end_is_left_out(tmp_path):
    for step, state in ((10, "{}"), (20, '{"glob'), (30, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text(state)
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def job_of(tokenizer, rows: TrainingData, folder: Path, settings: Training) -> TrainingJob:
    return TrainingJob(
        title="student",
        task=task_named("text-classification"),
        data=rows,
        settings=settings,
        seed=0,
        scratch=folder / "training",
        logs=folder / "logs",
        collate=Collator(tokenizer, 0.0, 0),
    )


def test_validation_rows_are_divided_as_a_step_is(tokenizer, rows, tmp_path):
    for parts, wanted in ((1, 128), (8, 16)):
        job = job_of(tokenizer, rows, tmp_path, Training(batch_size=64, gradient_accumulation=parts))
        assert _arguments(job).per_device_eval_batch_size == wanted


def trained(tokenizer, rows: TrainingData, folder: Path, learning_rate: float) -> None:
    """Train a small encoder for three short epochs."""
    config = small_encoders.CONFIGS["bert"]()
    config.update({"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id})
    torch.manual_seed(0)
    settings = Training(epochs=3, batch_size=1).model_copy(update={"learning_rate": learning_rate})  # beyond a recipe's
    job = job_of(tokenizer, rows, folder, settings)
    train(model_class(job.task).from_config(config), job)


def test_a_short_training_tells_its_loss(tokenizer, rows, tmp_path, capsys):
    trained(tokenizer, rows, tmp_path, 1e-4)
    told = capsys.readouterr().err
    assert re.search(r"student: epoch 1 of 3, loss \d\.\d{3}", told)
    assert "nan" not in told


def test_a_loss_that_is_no_number_ends_the_training(tokenizer, rows, tmp_path):
    with pytest.raises(CompressError, match=r"^student: the loss is nan .*; lower the training's learning_rate$"):
        trained(tokenizer, rows, tmp_path, 1e30)


def test_a_step_that_memory_is_too_short_for_says_what_helps(tokenizer, rows, tmp_path, monkeypatch):
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("transformers.Trainer.training_step", fails)
    with pytest.raises(CompressError, match=r"^student: memory is too short for a step; raise training\.gradient_acc"):
        trained(tokenizer, rows, tmp_path, 1e-4)


@pytest.mark.parametrize("name", ["bert", "modernbert", "deberta-v2"])
def test_what_a_long_row_keeps_for_the_backward_pass_is_reckoned_from_short_ones(name: str):
    task, long = task_named("text-classification"), {"input_ids": [5] * 300, "labels": [1]}
    model = model_class(task).from_config(small_encoders.CONFIGS[name]())
    reckoned = memory._kept_bytes(model, task, long, 300)
    assert reckoned == pytest.approx(memory._measured(model, task, long), rel=0.05)


@pytest.mark.parametrize(
    ("rows_at_once", "told"),
    [
        (64.5, None),
        (
            8.5,
            r"64 rows of up to 21 tokens .* are free; set its training\.gradient_accumulation: 8, which divides a st",
        ),
        (0.5, r"are free; lower data\.max_length, or take a smaller model$"),
    ],
)
def test_a_training_that_memory_cannot_hold_is_refused_with_the_parts_that_it_can(
    tokenizer, rows, monkeypatch: pytest.MonkeyPatch, rows_at_once: float, told: str | None
):
    task, longest = task_named("text-classification"), rows.train[0]
    model = model_class(task).from_config(small_encoders.CONFIGS["bert"]())
    row = memory._kept_bytes(model, task, longest, len(longest["input_ids"]))
    weights = 2 * 4 * model.num_parameters(only_trainable=True)
    monkeypatch.setattr(memory, "free_memory", lambda: int(weights + rows_at_once * row))
    with pytest.raises(CompressError, match=f"^student: .*{told}") if told else nullcontext():
        memory.check_training("student", model, task, longest, Training(batch_size=64), 1)
