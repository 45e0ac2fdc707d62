"""What a default variant says of a row depends on nothing that stands beside it: property over batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compress.data.stage import load_data
from compress.runs.directory import find_run
from compress.runtimes.onnx import onnx_session
from compress.targets import resolve_target
from compress.variants.registry import VARIANTS, default_variants
from export.onnx.graphs import depends_on_batch
from export.variants.making import Ingredients, ingredients_of, make

DEFAULT = [variant.name for variant in default_variants(resolve_target("cpu-vnni"))]


@pytest.fixture(scope="module")
def ingredients(finished_run: Path) -> Ingredients:
    run = find_run(finished_run, finished_run.parent)
    return ingredients_of(run, load_data(run), resolve_target(run.recipe.export.target))


def answers(folder: Path, rows: list[np.ndarray], order: np.ndarray, size: int, longer: int) -> np.ndarray:
    """Of each row, asked in batches of a size and in an order, padded to the longest of a batch and further."""
    session, found = onnx_session(folder / "model.onnx"), {}
    accepted = {value.name for value in session.get_inputs()}
    for start in range(0, len(rows), size):
        batch = [rows[number] for number in order[start : start + size]]
        length = max(map(len, batch)) + longer
        tokens, mask = (np.zeros((len(batch), length), np.int64) for _ in range(2))
        for place, row in enumerate(batch):
            tokens[place, : len(row)], mask[place, : len(row)] = row, 1
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        (outputs,) = session.run(None, {name: feed[name] for name in accepted})
        found |= dict(zip(order[start : start + size].tolist(), outputs, strict=True))
    return np.stack([found[number] for number in range(len(rows))])


@pytest.mark.parametrize("name", [*DEFAULT, "onnx-dynamic"])
def test_a_row_s_answer_depends_on_no_other(name: str, ingredients: Ingredients, tmp_path: Path):
    made = ingredients.parent_of(VARIANTS[name]).parent / name
    if not made.exists():
        made = tmp_path / name
        made.mkdir()
        make(VARIANTS[name], ingredients, made)
    random = np.random.default_rng(0)
    rows = [random.integers(5, 100, random.integers(1, 28)) for _ in range(48)]
    alone = answers(made, rows, np.arange(48), size=1, longer=0)
    moved = []
    for size, longer in ((1, 5), (2, 0), (7, 3), (16, 0), (48, 1), (48, 0)):
        together = answers(made, rows, random.permutation(48), size, longer)
        moved.append(np.abs(together - alone).max() / alone.std())
    assert depends_on_batch(made / "model.onnx") == (name == "onnx-dynamic")
    if name == "onnx-dynamic":
        assert max(moved) > 0.01
    else:
        assert max(moved) < 0.001
