"""The tables of several students say what their reports say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import bench.studies.students as studies
from bench.studies.students import costs, quality
from compress.metrics.figures import Loss
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


def test_what_is_lost_by_more_than_chance_has_a_star(report):
    report.models["student"].against["teacher"].drop["de"] = lost(0.2, 0.01)
    report.models["student"].against["teacher"].drop["en"] = lost(0.2, 0.06)
    report.models["student"].against["teacher"].drop["ja"] = lost(-0.2, 0.01)
    title, columns, rows = quality({"": report})
    student = next(row for row in rows if row[0] == "student")
    shown = [student[columns.index(language)].split()[1] for language in ("de", "en", "ja")]
    assert shown == ["(+20.0*)", "(+20.0)", "(-20.0)"]
    assert "*: significant, 5 %, Holm" in title


def lost(value: float, p: float) -> Loss:
    return Loss(value=value, low=value, high=value, p=p, p_adjusted=p)


@pytest.mark.slow
def test_a_static_student_of_the_same_teacher_stands_beside_them(
    tiny_recipe, tmp_path: Path, compress_command, monkeypatch: pytest.MonkeyPatch, capsys
):
    def run_command(*words: object, threads: int | None = None) -> None:
        done = compress_command(*words)
        assert done.returncode == 0, done.stderr
        trained.append("teacher: epoch 1" in done.stderr)

    trained: list[bool] = []
    monkeypatch.setattr(studies, "run_command", run_command)
    recipe = {**tiny_recipe, "export": {**tiny_recipe["export"], "variants": ["onnx-int8"]}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe), "utf-8")
    studies.study(tmp_path / "tiny.yaml", set_=["bench.rounds=1"], output=tmp_path / "runs")
    assert sum(trained) == 1
    costs_of, quality_of = capsys.readouterr().out.split("accuracy, % of")
    assert [costs_of.count(shape) for shape in ("4x64", "2x32", "0x64")] == [1, 4, 4]
    assert quality_of.count("0x64") == 4
