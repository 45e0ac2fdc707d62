import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from compress.data.columns import columns_of, row_of
from compress.errors import CompressError
from compress.recipe.data import Fields
from compress.student.losses import hard_and_soft_loss
from compress.tasks import multi_label_classification as task
from compress.tasks.rows import Row

LABELS = ["a", "b", "c"]
GENERATOR = np.random.default_rng(0)


def read(labels: object) -> Row | None:
    return row_of(task, "rows:1", {"text": " x ", "labels": labels}, columns_of(task, Fields(lang=None), labelled=True))


def test_rows_have_the_names_that_hold_each_once():
    assert read(["b", "a", 3]) == Row("x", ["3", "a", "b"], "und")
    assert read([]) == Row("x", [], "und")
    for wrong in ("a, b", {"a": True}, [0.5], [True], [""], [["a"]]):
        with pytest.raises(
            CompressError, match=r"^rows:1: field 'labels' must be a list of names, empty where no label"
        ):
            read(wrong)
    with pytest.raises(CompressError, match=r"has '0' twice; it lists the names of the labels that hold, each once$"):
        read([0, 1, 0])  # a vector of zeros and ones


def test_a_label_is_said_from_its_threshold_on():
    outputs = [np.array([0.0, -1.0, 2.0]), np.array([-0.1, -3.0, -2.0])]
    rows = [Row("x", "", "de")] * 2
    assert task.decode(outputs, [], rows, LABELS, None) == [["a", "c"], []]
    assert task.decode(outputs, [], rows, LABELS, None, [0.6, 0.2, 0.1]) == [["b", "c"], ["c"]]


def test_losses_are_binary_cross_entropy_and_that_of_independent_probabilities():
    student, teacher = torch.randn(4, 3, generator=torch.manual_seed(0)), torch.randn(4, 3)
    labels = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    parts = [task.positions(logits, torch.ones(4, 5)) for logits in (student, teacher)]
    hard, _ = hard_and_soft_loss(parts[0], labels, parts[1], alpha=1, temperature=1)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(student, labels.float(), reduction="none")
    assert torch.allclose(hard, wanted.mean(dim=1))
    _, soft = hard_and_soft_loss(parts[0], labels, parts[1], alpha=0, temperature=2)
    one, other = (torch.sigmoid(logits / 2) for logits in (student, teacher))
    divergence = other * (other / one).log() + (1 - other) * ((1 - other) / (1 - one)).log()
    assert torch.allclose(soft, 4 * divergence.mean(dim=1), atol=1e-5)


def test_figures_are_scikit_learns():
    wanted, found = GENERATOR.random((200, 3)) < [0.5, 0.2, 0.01], GENERATOR.random((200, 3)) < 0.3
    rows, said = ([[LABELS[n] for n in np.flatnonzero(row)] for row in every] for every in (wanted, found))
    metrics = task.metrics(said, [Row("x", labels, "de") for labels in rows], LABELS)
    assert list(metrics) == ["micro-F1", "macro-F1"]
    for name, metric in metrics.items():
        figure = metric.figure(np.arange(200))
        assert figure.value == pytest.approx(f1_score(wanted, found, average=name.split("-")[0]))
        assert 0 < figure.low < figure.value < figure.high < 1


def test_thresholds_have_the_highest_f1_and_half_is_kept_where_it_is_as_good():
    wanted = np.arange(300)[:, None] % np.array([3, 5, 60]) == 0  # the last in five rows, too few
    logits = GENERATOR.normal(size=(300, 3)) + 3 * wanted - 3
    logits[:, 1] = np.where(wanted[:, 1], 1.0, -1.0)
    found = task.thresholds(list(logits), [{"labels": row} for row in wanted.astype(int).tolist()], [])
    assert found[1:] == [0.5, 0.5]
    assert 0 < found[0] < 0.5
    scores = 1 / (1 + np.exp(-logits[:, 0]))
    best = max(f1_score(wanted[:, 0], scores >= threshold) for threshold in scores)
    assert f1_score(wanted[:, 0], scores >= found[0]) == pytest.approx(best)
