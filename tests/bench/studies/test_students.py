"""The tables of several students say what their reports say."""

from __future__ import annotations

import pytest

from bench.studies.students import costs, quality
from compress.reports.bench import read_report


@pytest.fixture
def report(finished_run):
    return read_report(finished_run / "bench/report.json")


def test_the_teacher_stands_once_and_each_student_with_all_its_forms(report):
    _, _, rows = costs({"": report, "layers=1": report})
    assert [row[0] for row in rows] == [*report.models, *(name for name in report.models if name != "teacher")]
    _, columns, (teacher, *_) = costs({"": report})
    assert teacher[columns.index("× faster")] == "1.0"
    assert teacher[columns.index("MB")] == f"{report.models['teacher'].size.total / 1e6:.1f}"


def test_losses_are_points_against_the_teacher(report):
    title, columns, rows = quality({"": report})
    student = next(row for row in rows if row[0] == "student")
    drop = report.models["student"].against["teacher"].drop["de"].value
    right = report.models["student"].quality["de"]["accuracy"].value
    assert title.startswith("accuracy, % of")
    assert student[columns.index("de")] == f"{100 * right:.1f} ({100 * drop:+.1f})"
