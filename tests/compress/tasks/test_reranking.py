import math

import numpy as np
import pytest
import torch

from compress.data.columns import columns_of, row_of
from compress.data.encode import LengthBucketSampler
from compress.recipe.data import Fields
from compress.student.losses import order_loss, ranking_loss
from compress.tasks import reranking as task
from compress.tasks.rows import Row
from compress.training.losses import hard_loss

STUDENT, TEACHER = torch.tensor([1.0, 3.0, 0.0, 5.0]), torch.tensor([2.0, 2.5, -1.0, 9.0])
QUERIES = torch.tensor([7, 7, 7, 2])


def test_a_row_is_a_query_a_passage_and_how_relevant_it_is():
    columns = columns_of(task, Fields(lang=None), labelled=True)
    content = {"query": " who? ", "passage": "they", "label": "2"}
    assert row_of(task, "rows:1", content, columns) == Row("who?", 2.0, "und", text_pair="they")


@pytest.mark.parametrize(("label", "probability"), [(1.0, 1.0), (0.25, 0.25), (3.0, 1.0), (-2.0, 0.0)])
def test_the_loss_on_labels_is_binary_cross_entropy(label: float, probability: float):
    logits = task.positions(torch.tensor([[1.5]]), torch.ones(1, 4))
    found = hard_loss(logits, torch.tensor([[min(max(label, 0.0), 1.0)]]))
    sure = 1 / (1 + math.exp(-1.5))
    wanted = -probability * math.log(sure) - (1 - probability) * math.log(1 - sure)
    assert found.tolist() == pytest.approx([wanted], abs=1e-6)


def test_distances_of_scores_are_squared():
    found = ranking_loss(STUDENT, TEACHER, QUERIES, "distances", 1.0)
    assert found.tolist() == pytest.approx([1.0, 0.25, 1.0, 16.0])


def test_margins_are_those_of_a_query_s_passages():
    found = ranking_loss(STUDENT, TEACHER, QUERIES, "margins", 1.0)
    apart = [(-2 - -0.5) ** 2, (1 - 3) ** 2, (3 - 3.5) ** 2]  # first and second, first and third, second and third
    wanted = [(apart[0] + apart[1]) / 2, (apart[0] + apart[2]) / 2, (apart[1] + apart[2]) / 2, 0]
    assert found.tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_lists_are_compared_as_distributions_over_a_query_s_passages(temperature: float):
    student, teacher = (torch.softmax(found[:3].double() / temperature, dim=0) for found in (STUDENT, TEACHER))
    divergence = float((teacher * (teacher / student).log()).sum()) * temperature**2
    found = ranking_loss(STUDENT, TEACHER, QUERIES, "lists", temperature)
    assert found.tolist() == pytest.approx([divergence] * 3 + [0], abs=1e-5)


@pytest.mark.parametrize("kind", ["distances", "margins", "lists"])
def test_gradients_are_numbers_and_nothing_is_left_to_learn_of_the_same_scores(kind: str):
    student = STUDENT.clone().requires_grad_()
    ranking_loss(student, TEACHER, QUERIES, kind, 2.0).sum().backward()
    assert student.grad.isfinite().all()
    assert ranking_loss(TEACHER, TEACHER, QUERIES, kind, 2.0).tolist() == pytest.approx([0.0] * 4)


def test_the_loss_of_an_order_is_that_of_labels_among_a_query_s_passages_wherever_its_scores_lie():
    labels = torch.tensor([1.0, 0.0, 0.5, 0.0])
    told = torch.log_softmax(STUDENT[:3].double(), dim=0)
    wanted = -float((told[0] + told[2] / 2) / 1.5)
    assert order_loss(STUDENT, labels, QUERIES).tolist() == pytest.approx([wanted] * 3 + [0], abs=1e-6)
    moved = STUDENT + torch.tensor([-9.0, -9.0, -9.0, 4.0])
    assert order_loss(moved, labels, QUERIES).tolist() == pytest.approx([wanted] * 3 + [0], abs=1e-5)


def test_a_query_s_passages_come_in_the_same_batch():
    generator = np.random.default_rng(0)
    groups, lengths = generator.permutation(np.repeat(np.arange(30), 4)), generator.integers(5, 90, 120)
    sampler = LengthBucketSampler(lengths, 8, 0, groups=groups)
    batches = np.array(list(sampler)).reshape(-1, 8)
    assert sorted(batches.ravel()) == [*range(120)]
    assert all(len(set(groups[batch])) == 2 for batch in batches)
    sampler.set_epoch(1)
    assert list(sampler) != batches.ravel().tolist()


def test_scores_are_made_of_outputs_by_the_activation():
    assert task.activated(-3.0, "identity") == -3.0
    assert [task.activated(value, "sigmoid") for value in (0.0, 1000.0, -1000.0)] == [0.5, 1.0, 0.0]
