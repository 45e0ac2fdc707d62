import json
from pathlib import Path

import pytest
import yaml

from bench.studies import ablation
from bench.studies.ablation import estimate, table_of


def test_an_interval_is_student_s():
    # 1, 2, 3: mean 2, standard deviation 1, t(0.975, 2) = 4.3027
    assert estimate([1, 2, 3]).mean == 2
    assert estimate([1, 2, 3]).half == pytest.approx(4.3027 / 3**0.5, abs=1e-3)
    assert str(estimate([50.0])) == "50.0"


def test_gains_are_paired_by_seed():
    accuracies = {
        "teacher": {"all": [70.0], "de": [70.0]},
        "plain": {"all": [60.0, 62.0], "de": [60.0, 62.0]},
        "better": {"all": [61.0, 63.0], "de": [61.0, 63.0]},
    }
    headings, rows = table_of(accuracies)
    assert headings == ["student", "gain", "worst-language drop", "all", "de"]
    assert [row[1] for row in rows] == ["", "", "+1.0 ± 0.0"]


def test_a_plan_trains_one_teacher_and_distils_a_variant_with_every_seed(
    tmp_path: Path, tiny_recipe: dict, compress_command, monkeypatch: pytest.MonkeyPatch
):
    def run_command(*words: object, threads: int | None = None) -> dict:
        done = compress_command(*words, "--json")
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
        return json.loads(done.stdout)

    said: list[str] = []
    monkeypatch.setattr(ablation, "run_command", run_command)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    plan = {
        "recipe": "tiny.yaml",
        "seeds": [0, 1],
        "fields": {"student.training.epochs": 1, "teacher.training.epochs": 1},
        "variants": {"soft": {}},
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    ablation.main(tmp_path / "plan.yaml", tmp_path / "runs")
    found = json.loads((tmp_path / "runs/ablation.json").read_text())
    assert set(found) == {"teacher", "soft"}
    assert len(found["soft"]["all"]) == 2
    assert "".join(said).count("teacher: epoch 1") == 1
    assert "| soft |" in (tmp_path / "runs/ablation.md").read_text()
