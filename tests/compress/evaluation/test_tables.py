"""Which tables are shown of an evaluation."""

from __future__ import annotations

import pytest

from compress.evaluation.summary import EvaluationSummary, StoredVectors
from compress.evaluation.tables import shown_tables
from compress.metrics.figures import Interval, LanguageLosses, Loss, ModelLosses, WorstLoss

QUALITY = {language: {"cosine": Interval(value=0.9, low=0.8, high=1.0)} for language in ("de", "all")}
LOSSES = LanguageLosses(
    metric="cosine",
    drop={language: Loss(value=0.1, low=0.0, high=0.2, p=0.01, p_adjusted=0.01) for language in ("de", "all")},
    worst_language_drop=WorstLoss(value=0.1, low=0.0, high=0.2, language="de"),
)


@pytest.mark.parametrize(
    ("labelled", "student", "vectors", "titles"),
    [
        (True, True, False, ["Test cosine %"]),
        (False, False, False, []),  # against its own answers it is always right
        (False, False, True, ["Vectors in an index"]),
        (False, True, True, ["Test cosine %", "Vectors in an index"]),
    ],
)
def test_a_student_is_shown_beside_its_teacher_where_rows_have_no_labels_too(
    labelled: bool, student: bool, vectors: bool, titles: list[str]
):
    summary = EvaluationSummary(
        metrics=["cosine"],
        signatures={},
        rows={"de": 5, "all": 5},
        seen_in_training={},
        student_rows=None,
        models={"teacher": QUALITY, **({"student": QUALITY} if student else {})},
        labels={},
        student_against_teacher=ModelLosses(**dict(LOSSES), labels={}, agreement=1.0) if student else None,
        index={"int8": StoredVectors(bytes=8, quality=QUALITY, losses=LOSSES)} if vectors else {},
    )
    found = [str(table.title) for table in shown_tables(summary, labelled=labelled)]
    assert [title.startswith(begun) for title, begun in zip(found, titles, strict=True)] == [True] * len(titles)
