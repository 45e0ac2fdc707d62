"""The losses of vectors against values computed by hand, and what principal components keep."""

import math

import numpy as np
import pytest
import torch
from transformers import BertConfig

from compress.models.sentence_folder import SentenceHead, SentenceModule, keep_head
from compress.recipe.student import VectorSignal
from compress.student.vectors import (
    VectorTargets,
    principal_components,
    reference_loss,
    similarity_loss,
    vector_losses,
    vector_targets,
)

TEACHER = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
STUDENT = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
REFERENCES = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
ALL = {"cosine": 0.0, "mse": 0.0, "similarities": 0.0}


def test_each_loss_is_there_with_its_weight():
    found = vector_losses(VectorSignal(cosine=2, mse=3, similarities=0), STUDENT, TEACHER, REFERENCES)
    assert found["cosine"].tolist() == pytest.approx([0, 2 * 0.04, 2 * 0.2], abs=1e-6)
    assert found["mse"].tolist() == pytest.approx([0, 3 * 0.04, 3 * 0.2], abs=1e-6)
    assert [*found] == ["cosine", "mse"]


def divergence(teacher: tuple[float, float], student: tuple[float, float]) -> float:
    """Of two distributions over two texts, at a temperature of 0.5."""

    def told(cosines: tuple[float, float]) -> list[float]:
        weights = [math.exp(value / 0.5) for value in cosines]
        return [weight / sum(weights) for weight in weights]

    return sum(t * math.log(t / s) for t, s in zip(told(teacher), told(student), strict=True))


def test_similarities_are_compared_as_distributions_over_the_teachers_vectors_of_other_texts():
    # the second text's cosines with the two: the teacher's are 0.6 and 0.8, the student's 0.8 and 0.6
    expected = [0, divergence((0.6, 0.8), (0.8, 0.6)), divergence((0, 1), (0.6, 0.8))]
    assert reference_loss(STUDENT, 2 * TEACHER, REFERENCES, 0.5).tolist() == pytest.approx(expected, abs=1e-6)
    whole = vector_losses(VectorSignal(**{**ALL, "similarities": 3}, temperature=0.5), STUDENT, TEACHER, REFERENCES)
    assert whole["similarities"].tolist() == pytest.approx([3 * value for value in expected], abs=1e-6)


def test_these_are_on_the_axes_that_the_student_learns():
    axes = torch.tensor([[1.0], [0.0]])
    targets = VectorTargets(axes).compared_with(torch.tensor([[3.0, 4.0], [5.0, 6.0]]))
    assert targets.references.tolist() == [[3], [5]]


def test_parts_are_compared_as_distributions_over_the_others_of_a_batch():
    # cosines of the first text with the two others: the teacher's are 0.6 and 0, the student's 0.8 and 0.6
    expected = divergence((0.6, 0.0), (0.8, 0.6))
    assert similarity_loss(STUDENT, TEACHER, 0.5)[0].item() == pytest.approx(expected, rel=1e-5)
    assert similarity_loss(STUDENT[:, :1] * 3, STUDENT[:, :1], 0.5).tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_text_alone_has_no_similarities_and_a_gradient_all_the_same():
    student = STUDENT[:1].clone().requires_grad_()
    loss = similarity_loss(student, TEACHER[:1], 0.5)
    loss.sum().backward()
    assert loss.item() == 0
    assert student.grad.tolist() == [[0, 0]]


def test_the_first_numbers_of_a_vector_learn_the_similarities_too():
    whole = reference_loss(STUDENT, TEACHER, REFERENCES, 0.05)
    with_part = VectorSignal(**{**ALL, "similarities": 1}, dimensions=[1])
    part = similarity_loss(STUDENT[:, :1], TEACHER, 0.05)
    found = vector_losses(with_part, STUDENT, TEACHER, REFERENCES)["similarities"]
    assert found.tolist() == pytest.approx(((whole + part) / 2).tolist())


def test_principal_components_keep_products_and_the_first_ones_most_of_them():
    generator = np.random.default_rng(0)
    plane = generator.normal(size=(50, 3)) * [3, 2, 0.1] @ np.linalg.qr(generator.normal(size=(8, 8)))[0][:3]
    axes, share = principal_components(plane + 1e-9, 2)
    assert axes.shape == (8, 2)
    assert 0.99 < share < 1
    turned = plane @ axes
    assert turned @ turned.T == pytest.approx(plane @ plane.T, abs=0.2)
    assert np.square(turned[:, 0]).sum() > np.square(turned[:, 1]).sum()


def test_principal_components_are_the_same_of_many_vectors_in_blocks(monkeypatch: pytest.MonkeyPatch):
    vectors = np.random.default_rng(0).normal(size=(25, 6)).astype(np.float32) + 1
    axes, share = principal_components(vectors, 3)
    monkeypatch.setattr("compress.student.vectors._BLOCK", 10)
    in_blocks = principal_components(vectors, 3)
    assert in_blocks[0] == pytest.approx(axes, abs=1e-6)
    assert in_blocks[1] == pytest.approx(share)


def test_a_student_on_components_learns_vectors_of_its_own_length():
    config = BertConfig(hidden_size=4, num_attention_heads=2)
    modules = [SentenceModule(kind="Pooling", modes=["mean"]), SentenceModule(kind="Normalize")]
    keep_head(config, SentenceHead(modules=modules))
    vectors = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    targets, share = vector_targets(VectorSignal(projection="principal-components"), config, lambda: vectors)
    learnt = targets.of(torch.from_numpy(vectors))
    assert learnt.shape == (20, 4)
    assert learnt.norm(dim=1).tolist() == pytest.approx([1] * 20)
    assert 0.5 < share < 1
    as_they_are, share = vector_targets(VectorSignal(), config, lambda: pytest.fail("they are read"))
    assert torch.equal(as_they_are.of(torch.from_numpy(vectors)), torch.from_numpy(vectors))
    assert share == 1
