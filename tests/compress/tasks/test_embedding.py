"""Vectors of texts: what is kept of them, what is learnt of a row, and what stands before its texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compress.recipe.data import Data
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

TASK = task_named("embedding")
TEXTS = [Row("eins", "", "de", parallel="1"), Row("zwei", "", "de", parallel="2"), Row("one", "", "en", parallel="1")]
PAIRS = [Row(f"query {number}", "", "de", text_pair=f"passage {number}") for number in range(3)]


def vectors(rows: int, numbers: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).normal(size=(rows, numbers)).astype(np.float32))


@pytest.mark.parametrize(("rows", "metric"), [(TEXTS, "translation accuracy"), (PAIRS, "nDCG@10")])
def test_what_is_found_comes_back_from_a_file_as_it_was(rows: list[Row], metric: str):
    found = TASK.findings(vectors(3, 8), rows, "cosine")
    written = json.loads(json.dumps([TASK.finding_as_json(finding) for finding in found]))
    assert [TASK.finding_of_json(content) for content in written] == found
    assert next(iter(TASK.metrics(found, rows, []))) == metric
    assert all(None not in content.values() for content in written)


def test_what_no_task_has_found_is_no_finding():
    with pytest.raises(TypeError):
        TASK.finding_of_json({"score": 0.5, "rank": 1})
    with pytest.raises(TypeError):
        task_named("reranking").finding_of_json("a label")


def test_a_pair_is_learnt_as_a_query_and_a_passage():
    texts = TASK.rows_learnt(PAIRS[0])
    assert [(row.text, row.kind) for row in texts] == [("query 0", "query"), ("passage 0", "passage")]
    assert {row.text_pair for row in texts} == {None}


def test_each_prompt_may_stand_before_a_text():
    settings = Data(prompts={"query": "q: ", "document": "d: ", "other": "o: "}, default_prompt="other")
    assert TASK.read_before(settings, "de") == ["o: ", "q: ", "d: "]


def test_an_index_keeps_the_passages_and_asks_queries_as_they_are():
    said = np.stack(vectors(3, 16))
    for form, vectors_kept in TASK.index_forms(list(said), PAIRS, [4]):
        kept = np.stack(vectors_kept)
        assert form.name in ("int8", "binary", "first 4")
        assert (kept[:, :8] == said[:, :8]).all()
        assert (kept[:, 8:] != said[:, 8:]).any(axis=1).all()
