"""The losses against values computed by hand."""

import math

import pytest
import torch

from compress.student.losses import (
    group_dro_loss,
    hard_and_soft_loss,
    relation_loss,
    sentence_loss,
    soft_loss,
    state_loss,
)

TEACHER = torch.tensor([[0.9, 0.1]]).log()
STUDENT = torch.tensor([[0.85, 0.15]]).log()


def test_soft_loss_at_temperature_one_is_the_divergence():
    # cross-entropy 0.335979 less the teacher's entropy 0.325083
    assert soft_loss(STUDENT, TEACHER, 1.0).item() == pytest.approx(0.010896, abs=1e-6)


def test_soft_loss_grows_with_the_square_of_the_temperature():
    teacher, student = ([math.sqrt(p) for p in pair] for pair in ((0.9, 0.1), (0.85, 0.15)))
    teacher, student = ([p / sum(pair) for p in pair] for pair in (teacher, student))
    expected = 4 * sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))
    assert soft_loss(STUDENT, TEACHER, 2.0).item() == pytest.approx(expected, rel=1e-4)


def test_classes_that_the_teacher_did_not_keep_are_impossible_to_it():
    student = torch.tensor([[0.5, 0.3, 0.2]]).log()
    kept, classes = torch.tensor([[0.6, 0.2]]).log(), torch.tensor([[2, 0]])
    expected = 0.75 * math.log(0.75 / 0.2) + 0.25 * math.log(0.25 / 0.5)
    assert soft_loss(student, kept, 1.0, classes).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_balances_hard_and_soft(alpha: float):
    hard, soft = hard_and_soft_loss(STUDENT[:, None], torch.tensor([[0]]), TEACHER[:, None], alpha, 1.0)
    assert hard.item() == pytest.approx(alpha * -math.log(0.85), abs=1e-6)
    assert soft.item() == pytest.approx((1 - alpha) * 0.010896, abs=1e-6)


def test_the_labels_of_the_hard_loss_are_smoothed():
    hard, soft = hard_and_soft_loss(STUDENT[:, None], torch.tensor([[0]]), TEACHER[:, None], 0.5, 1.0, smoothing=0.2)
    assert hard.item() == pytest.approx(0.5 * (0.9 * -math.log(0.85) + 0.1 * -math.log(0.15)), abs=1e-6)
    assert soft.item() == pytest.approx(0.5 * 0.010896, abs=1e-6)


def test_each_row_has_its_own_loss():
    rows = soft_loss(torch.cat([STUDENT, TEACHER]), torch.cat([TEACHER, TEACHER]), 1.0)
    assert rows.tolist() == [pytest.approx(0.010896, abs=1e-6), pytest.approx(0.0, abs=1e-6)]


def test_state_loss_leaves_out_padding():
    student = torch.tensor([[[1.0, 1.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]])
    # one real token: ((1 - 1)² + (1 - 3)²) / 2
    assert state_loss(student, teacher, torch.tensor([[1, 0]])).item() == pytest.approx(2.0)


def test_relation_loss_of_a_hand_made_case():
    # One head of width 1, two tokens. Teacher values 1 and 2: scores [[1, 2], [2, 4]]; student 0 and 0: all alike.
    teacher = torch.tensor([[[1.0], [2.0]]])
    student = torch.zeros(1, 2, 1)
    expected = 0.0
    for scores in ([1, 2], [2, 4]):
        total = sum(math.exp(score) for score in scores)
        expected += sum(math.exp(s) / total * math.log(math.exp(s) / total / 0.5) for s in scores) / 2
    loss = relation_loss((student, student), (teacher, teacher), 1, torch.ones(1, 2))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_relation_loss_scales_by_the_width_of_a_head():
    # Width 4 in 1 head: scores are divided by 2. Tokens (1, 1, 1, 1) and 0: teacher scores [[4, 0], [0, 0]] / 2.
    teacher = torch.tensor([[[1.0] * 4, [0.0] * 4]])
    student = torch.zeros(1, 2, 2)
    first = 1 / (1 + math.exp(-2))
    expected = (first * math.log(first / 0.5) + (1 - first) * math.log((1 - first) / 0.5)) / 2
    loss = relation_loss((student, student), (teacher, teacher), 1, torch.ones(1, 2))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_relation_loss_leaves_out_padding():
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(1, 3, 8, generator=generator), torch.randn(1, 3, 4, generator=generator)
    short = relation_loss((student, student), (teacher, teacher), 2, torch.ones(1, 3))
    padded = [torch.cat([part, torch.full_like(part[:, :2], 7.0)], dim=1) for part in (student, teacher)]
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    assert relation_loss((padded[0],) * 2, (padded[1],) * 2, 2, mask).item() == pytest.approx(short.item(), rel=1e-5)


def test_equal_attention_maps_cost_nothing_and_others_do():
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 4, 8, generator=generator), torch.randn(2, 4, 8, generator=generator)
    mask = torch.ones(2, 4)
    assert relation_loss((query, key), (query, key), 2, mask).abs().max() < 1e-6
    assert relation_loss((query, query), (query, key), 2, mask).min() > 0.01


def test_sentence_loss_is_one_less_the_cosine():
    student, teacher = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [-1.0, 0.0]])
    assert sentence_loss(student, teacher).tolist() == [pytest.approx(1 - 24 / 25), pytest.approx(2.0)]


def test_group_dro_gives_weight_to_the_language_with_the_higher_loss():
    weights = torch.tensor([0.5, 0.5]).log()
    by_row, language = torch.tensor([1.0, 3.0, 4.0]), torch.tensor([0, 0, 1])
    # Mean losses 2 and 4; weights e^(0.5·2) to e^(0.5·4), which is 1 to e.
    loss = group_dro_loss(by_row, language, weights, step=0.5)
    share = math.e / (1 + math.e)
    assert weights.exp().tolist() == [pytest.approx(1 - share), pytest.approx(share)]
    assert loss.item() == pytest.approx((1 - share) * 2 + share * 4)


def test_a_language_that_is_not_in_the_batch_keeps_its_weight_and_costs_nothing():
    weights = torch.tensor([0.25, 0.75]).log()
    loss = group_dro_loss(torch.tensor([2.0]), torch.tensor([0]), weights, step=0.0)
    assert weights.exp().tolist() == [pytest.approx(0.25), pytest.approx(0.75)]
    assert loss.item() == pytest.approx(2.0)


def test_group_dro_takes_losses_whose_exponential_no_number_holds():
    weights = torch.full((3,), 1 / 3).log()
    loss = group_dro_loss(torch.tensor([95.0, 1.0, 2.0]), torch.tensor([0, 1, 2]), weights, step=1.0)
    assert loss.item() == pytest.approx(95)
    assert weights.exp().tolist() == [pytest.approx(1), pytest.approx(0), pytest.approx(0)]
    # The second language's weight, e^-94 by now, is too small for a float, and yet it counts again.
    loss = group_dro_loss(torch.tensor([1.0, 95.0, 2.0]), torch.tensor([0, 1, 2]), weights, step=1.0)
    assert loss.item() == pytest.approx((1 + 95) / 2)


def test_group_dro_over_two_processes_is_that_of_one():
    by_row, language = torch.tensor([1.0, 2.0, 5.0, 3.0]), torch.tensor([0, 1, 0, 1])
    whole = group_dro_loss(by_row, language, torch.tensor([0.5, 0.5]).log(), step=0.1)
    sums = torch.tensor([[6.0, 5.0], [2.0, 2.0]])
    halves = [group_dro_loss(by_row[part], language[part], torch.tensor([0.5, 0.5]).log(), 0.1, 2, lambda _: sums)
              for part in (slice(0, 2), slice(2, 4))]  # fmt: skip
    assert torch.stack(halves).mean().item() == pytest.approx(whole.item())
