"""A label that falls in one language shows in its own cell, where both means hide it."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from compress.metrics.cells import cell_figures, cell_losses
from compress.metrics.labels import LabelCounts, label_losses
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

LABELS = [f"label {number}" for number in range(5)]
LANGUAGES = [f"l{number:02}" for number in range(10)]


def drawn(rows: int, seed: int = 0) -> tuple[list[Row], list[str]]:
    """Rows of each label in each language, and what a model says that has nine of ten right."""
    generator = np.random.default_rng(seed)
    made = [Row("", label, language) for language in LANGUAGES for label in LABELS for _ in range(rows)]
    return made, [row.label if generator.random() < 0.9 else str(generator.choice(LABELS)) for row in made]


def counts(said: list[str], rows: list[Row]) -> LabelCounts:
    found = task_named("text-classification").label_counts(said, rows, LABELS)
    assert found is not None
    return found


def test_figures_are_scikit_learns():
    rows, said = drawn(20)
    found = cell_figures(counts(said, rows), [row.lang for row in rows])
    assert len(found) == len(LABELS) * len(LANGUAGES)
    for cell in found:
        own = [number for number, row in enumerate(rows) if row.lang == cell.language]
        wanted, told = [rows[number].label for number in own], [said[number] for number in own]
        for figure, score in ((cell.recall, recall_score), (cell.f1, f1_score)):
            assert figure.value == pytest.approx(score(wanted, told, labels=[cell.label], average=None)[0], abs=1e-4)
            assert figure.low <= figure.value <= figure.high
        assert (cell.rows, cell.count) == (20, 20)


def test_a_label_that_is_lost_in_one_language_comes_first_and_the_means_hide_it():
    rows, said = drawn(40)
    lost = [
        LABELS[0] if (row.lang, row.label) == ("l03", LABELS[2]) and number % 2 else one
        for number, (row, one) in enumerate(zip(rows, said, strict=True))
    ]
    before, after = counts(said, rows), counts(lost, rows)
    first, *others = cell_losses(before, after, [row.lang for row in rows])
    assert (first.language, first.label, first.rows) == ("l03", LABELS[2], 40)
    assert first.recall.value > 0.3
    assert first.recall.p_adjusted < 0.01
    assert first.f1.low > 0
    assert {other.recall.value for other in others} == {0}
    assert label_losses(before, after)[LABELS[2]].value < 0.06


def test_labels_that_fall_nowhere_are_called_lost_no_more_often_than_is_said():
    """Models that have other rows right, but as many: of 40 such pairs two may have a cell that is called lost."""
    alarms = 0
    for seed in range(40):
        rows, said = drawn(12, seed)
        other = drawn(12, seed + 1000)[1]
        losses = cell_losses(counts(said, rows), counts(other, rows), [row.lang for row in rows])
        alarms += any(loss.recall.value > 0 and loss.recall.p_adjusted < 0.05 for loss in losses)
    assert alarms <= 4


def test_spans_have_cells_of_their_kinds_and_languages_without_a_label_have_none():
    task, labels = task_named("token-classification"), ["O", "B-place", "B-person"]
    rows = [Row(["a", "b"], ["B-place", "O"], "de"), Row(["c", "d"], ["B-person", "B-place"], "en")]
    said = [["B-place", "O"], ["B-person", "O"]]
    found = cell_figures(task.label_counts(said, rows, labels), ["de", "en"])
    assert [(cell.language, cell.label, cell.recall.value) for cell in found] == [
        ("de", "place", 1.0),
        ("en", "person", 1.0),
        ("en", "place", 0.0),
    ]
    assert cell_figures(None, ["de"]) == cell_losses(None, None, ["de"]) == []
