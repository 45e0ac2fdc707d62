"""The losses against values computed by hand."""

import math

import pytest
import torch
from torch.nn import Identity, ModuleList

from compress.cache import matched_layers
from compress.distillation import distillation_loss, hidden_loss, soft_loss

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


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_balances_hard_and_soft(alpha: float):
    hard = -math.log(0.85)
    loss = distillation_loss(STUDENT, torch.tensor([0]), TEACHER, alpha, 1.0).item()
    assert loss == pytest.approx(alpha * hard + (1 - alpha) * 0.010896, abs=1e-6)


def test_the_loss_is_a_mean_over_rows():
    one = distillation_loss(STUDENT, torch.tensor([0]), TEACHER, 0.3, 2.0)
    three = distillation_loss(STUDENT.repeat(3, 1), torch.zeros(3, dtype=int), TEACHER.repeat(3, 1), 0.3, 2.0)
    assert three.item() == pytest.approx(one.item())


def test_hidden_loss_leaves_out_padding():
    student = [torch.tensor([[[1.0, 1.0], [9.0, 9.0]]])]
    teacher = torch.tensor([[[[1.0, 3.0]], [[0.0, 0.0]]]])  # (rows, tokens, layers, width)
    mask = torch.tensor([[1, 0]])
    assert hidden_loss(student, teacher, ModuleList([Identity()]), mask).item() == pytest.approx((0 + 4) / 2)


def test_student_layers_learn_from_evenly_spread_teacher_layers():
    assert matched_layers(2, 4) == [2, 4]
    assert matched_layers(3, 12) == [4, 8, 12]
    assert matched_layers(4, 4) == [1, 2, 3, 4]
