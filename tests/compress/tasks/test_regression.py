import numpy as np
import pytest
import torch

from compress.data.columns import columns_of, row_of
from compress.data.encode import padded
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.data import Fields
from compress.recipe.file import load_recipe
from compress.student.losses import hard_and_soft_loss
from compress.tasks import regression as task
from compress.tasks.rows import Row


def read(label: object) -> Row | None:
    return row_of(task, "rows:1", {"text": "x", "label": label}, columns_of(task, Fields(lang=None), labelled=True))


def test_labels_are_numbers():
    assert [read(label) for label in (3, "2.5", -100.0)] == [Row("x", label, "und") for label in (3.0, 2.5, -100.0)]
    for wrong in ("good", True, [1], float("nan"), "inf"):
        with pytest.raises(CompressError, match=r"^rows:1: field 'label' must be a number, got "):
            read(wrong)


def test_numbers_stay_as_they_are_in_tables_and_batches(tmp_path):
    rows = [Row("x", 0.25, "de"), Row("y", -100.0, "de"), Row("z", 3.0, "de")]
    table = RowTable.from_rows(rows)
    assert list(table) == rows
    assert padded([[row.label] for row in table], -100).tolist() == [[0.25], [-100.0], [3.0]]


def test_losses_are_squared_distances_from_the_label_and_from_the_teacher():
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.5]])
    labels = torch.tensor([[0.5], [-100.0]])  # a number like any other
    parts = [task.positions(outputs, torch.ones(2, 4)) for outputs in (student, teacher)]
    hard, soft = hard_and_soft_loss(parts[0], labels, parts[1], alpha=0.5, temperature=2)
    assert hard.tolist() == [0.125, 5202.0]
    assert soft.tolist() == [2.0, 0.125]


def test_a_prediction_is_the_output_itself():
    assert task.decode([np.array([0.5], np.float32), np.array([-2.0])], [], [], [], None) == [0.5, -2.0]


@pytest.mark.parametrize("field", ["student.distillation.temperature", "teacher.training.label_smoothing"])
def test_what_is_for_labels_is_refused(field: str):
    values = {"task": "regression", "data.source": "rows", field: 0.5}
    with pytest.raises(CompressError, match=f"{field} is for labels, the task is regression; leave it out"):
        load_recipe(None, values)
