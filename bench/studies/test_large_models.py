"""Goal: no form of a large model takes more than two and a half times its file in memory, and none is lost on disk."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.studies.large_models import MANY_ROWS, SHAPES, Cost, cost_table, costs_of

_TIMES_ITS_FILE = 2.5
_CALIBRATING = 2e9  # bytes, whatever is calibrated on
_TRANSLATORS_GRAPHS = 1.1  # of the PyTorch file, all three together


@pytest.fixture(scope="module")
def costs() -> list[Cost]:
    found = costs_of(list(SHAPES.values()))
    Console(width=160, stderr=True).print("\n".join(cost_table(found)))
    return found


def test_memory_stays_within_a_few_times_the_models_file(costs: list[Cost]) -> None:
    over = [cost for cost in costs if cost.peak > _TIMES_ITS_FILE * cost.source]
    assert not over


def test_memory_of_a_calibration_does_not_grow_with_its_rows() -> None:
    found = costs_of([MANY_ROWS], ["onnx", "onnx-fused", "onnx-static"])
    Console(width=160, stderr=True).print("\n".join(cost_table(found)))
    assert found[-1].peak < _CALIBRATING


def test_graphs_of_a_translator_share_their_weights(costs: list[Cost]) -> None:
    made = [cost for cost in costs if SHAPES[cost.shape].translates]
    assert made
    assert all(cost.disk < _TRANSLATORS_GRAPHS * cost.source for cost in made)
