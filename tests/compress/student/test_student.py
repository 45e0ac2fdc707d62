"""The student stage with what a recipe can ask for, on the teacher of the finished run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from transformers import AutoConfig, AutoTokenizer


@pytest.fixture
def distil(tmp_path: Path, tiny_recipe: dict, finished_run: Path, compress_command) -> Callable[..., dict]:
    """Distils with changed fields and tells what came out."""

    def run(**fields: object) -> dict:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tiny_recipe))
        given = {
            "teacher.model": str(finished_run / "teacher"),
            "teacher.fine_tune": False,
            "student.training.epochs": 1,
            **{name.replace("__", "."): value for name, value in fields.items()},
        }
        settings = [word for name, value in given.items() for word in ("--set", f"{name}={json.dumps(value)}")]
        done = compress_command("distill", path, "--output", tmp_path / "out", "--json", *settings)
        assert done.returncode == 0, done.stderr
        return {**json.loads(done.stdout), "told": done.stderr}

    return run


def rows_of(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def test_all_signals_and_choices_together(distil, tmp_path: Path, data_folder: Path):
    unlabelled = tmp_path / "unlabelled.jsonl"
    write_rows(unlabelled, [{"text": row["text"] + " !", "lang": row["lang"]} for row in rows_of(data_folder, "train")])
    result = distil(
        data__unlabelled=str(unlabelled),
        student__initialization="importance",
        student__heads=1,
        student__rows__minimum_confidence=0.5,
        student__rows__weight_by_confidence=True,
        student__training__language_exponent=0.5,
        student__training__gradient_accumulation=2,
        student__distillation__final_temperature=1,
        student__distillation__embeddings__weight=1,
        student__distillation__relations__weight=1,
        student__distillation__sentences__weight=1,
        student__distillation__group_dro=0.1,
    )
    for part in ("hard", "soft", "hidden", "embeddings", "relations", "sentences"):
        assert f"{part} 0." in result["told"] or f"{part} 1." in result["told"], part
    counts = result["student"]["rows"]
    train = len(rows_of(data_folder, "train"))
    assert counts["labelled_by_teacher"] >= 0.9 * train
    assert counts["kept"] + counts["dropped_as_unsure"] == counts["rows"]
    weights = result["student"]["language_weights"]
    assert set(weights) == {"de", "en", "ja"}
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
    assert result["evaluation"]["student_rows"] == counts
    assert list((tmp_path / "out/tiny/logs/student").glob("events.out.tfevents.*"))


def test_a_student_with_its_own_tokenizer_learns_from_parallel_sentences(distil, tmp_path: Path, data_folder: Path):
    folder = tmp_path / "parallel"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        numbers: dict[tuple, int] = {}
        rows = rows_of(data_folder, split)
        for row in rows:
            place = (row["lang"], row["label"])
            numbers[place] = numbers.get(place, 0) + 1
            row["sentence"] = f"{row['label']}-{numbers[place]}"
        write_rows(folder / f"{split}.jsonl", rows)
    result = distil(
        data__source=str(folder),
        data__fields__parallel="sentence",
        data__labelled_languages=["en"],
        student__tokenizer={"vocabulary_size": 300},
        student__distillation__hidden__weight=0,
        student__distillation__sentences__weight=1,
        student__distillation__pivot="en",
        student__distillation__alpha=0,
    )
    assert result["evaluation"]["seen_in_training"] == {"de": "text", "en": "labels", "ja": "text"}
    assert "seen in training" in result["told"]
    student = AutoTokenizer.from_pretrained(tmp_path / "out/tiny/student")
    assert len(student) == 300
    assert AutoConfig.from_pretrained(tmp_path / "out/tiny/student").vocab_size == 300
    assert result["student"]["rows"]["labelled_by_teacher"] == sum(
        row["lang"] != "en" for row in rows_of(folder, "train")
    )


def test_a_trimmed_teacher_says_what_it_said_before(distil, tmp_path: Path, finished_run: Path, data_folder: Path):
    german = tmp_path / "german"
    german.mkdir()
    for split in ("train", "validation", "test"):
        write_rows(german / f"{split}.jsonl", [row for row in rows_of(data_folder, split) if row["lang"] == "de"])
    result = distil(data__source=str(german), teacher__vocabulary__trim=True)
    vocabulary = result["teacher"]["vocabulary"]
    assert vocabulary["tokens_after"] < vocabulary["tokens_before"] == 400
    assert (
        0 <= vocabulary["held_out"]["de"]["lost_share"] < 0.1
    )  # of the validation rows, which did not say what is kept
    assert "vocabulary trimmed from 400 to" in result["told"]
    before = json.loads((finished_run / "evaluation/report.json").read_text())["models"]["teacher"]["de"]
    after = result["evaluation"]["models"]["teacher"]["de"]
    assert after["accuracy"]["value"] == pytest.approx(before["accuracy"]["value"], abs=0.02)
    assert abs(result["evaluation"]["teacher_against_untrimmed"]["drop"]["de"]["value"]) <= 0.02
    assert result["evaluation"]["models"]["untrimmed"]["de"]["accuracy"]["value"] > 0.5
    for model in ("teacher", "student"):
        assert len(AutoTokenizer.from_pretrained(tmp_path / "out/tiny" / model)) == vocabulary["tokens_after"]


def test_a_student_learns_from_copies_that_its_teacher_has_read(distil, tmp_path: Path, data_folder: Path):
    train = len(rows_of(data_folder, "train"))
    result = distil(student__augmentation__copies=1)
    copies = result["augmented"]["copies"]
    assert result["augmented"]["rows"] == train
    assert 0.5 * train < copies <= train
    assert result["cache"]["examples"] == result["student"]["rows"]["kept"] == train + copies
    assert result["student"]["rows"]["labelled_by_teacher"] == copies
    assert {row["label"] for row in rows_of(tmp_path / "out/tiny/augmented", "rows")} == {""}
    assert f"{copies:,} copies" in result["told"]
