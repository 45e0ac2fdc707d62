import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from compress.data.clean import Cleaned, Row, clean
from compress.data.encode import batches_by_length, pad, spread_over_languages
from compress.data.read import read_file, read_splits, rows_of_dataset
from compress.data.summary import SharedTexts, SplitSummary
from compress.errors import CompressError
from compress.recipe.data import Data
from compress.tasks.registry import task_named

ROWS = [{"text": "ein Text", "label": "a", "lang": "de"}, {"text": "a text", "label": "b", "lang": "en"}]


def write_folder(folder: Path, **splits: list[dict]) -> Data:
    for split in ("train", "validation", "test"):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in splits.get(split, ROWS))
        (folder / f"{split}.jsonl").write_text(lines, "utf-8")
    return Data(source=str(folder))


def cleaned(data: Data) -> tuple[dict[str, list[Row]], Cleaned]:
    kept: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    task = task_named("text-classification")
    return kept, clean(read_splits(data, seed=0), task, data, lambda split, row: kept[split].append(row))


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (tmp_path / "rows.csv").write_text("text,label,lang\nein Text,a,de\na text,b,en\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    for ending in ("jsonl", "csv", "parquet"):
        assert [row for _, row in read_file(tmp_path / f"rows.{ending}")] == ROWS


def test_a_single_file_is_divided_and_no_row_is_lost(tmp_path: Path):
    rows = [{"text": f"row {number}", "label": "ab"[number % 2], "lang": "en"} for number in range(50)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    splits = {split: list(rows) for split, rows in read_splits(Data(source=str(tmp_path / "rows.jsonl")), 0).items()}
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 40, "validation": 5, "test": 5}
    assert sorted(row["text"] for split in splits.values() for _, row in split) == sorted(row["text"] for row in rows)


def test_a_hub_data_set_gives_names_for_numbered_labels():
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    split = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, 0]}, features=features)
    loaded = datasets.DatasetDict({"train": split, "dev": split, "test": split})
    rows = rows_of_dataset(loaded, Data(source="owner/name"))
    assert [row["label"] for _, row in rows["validation"]] == ["good", "bad"]
    with pytest.raises(CompressError, match=r"no test split; it has train"):
        rows_of_dataset(datasets.DatasetDict({"train": split, "dev": split}), Data(source="owner/name"))


def test_cleaning_normalises_drops_and_counts(tmp_path: Path):
    decomposed = {"text": "  Cafe\u0301 ", "label": "a", "lang": "fr"}
    train = [*ROWS, decomposed, {**decomposed, "text": "Café"}, {"text": " \n", "label": "a", "lang": "de"}]
    kept, result = cleaned(write_folder(tmp_path, train=train, test=[ROWS[0]]))
    assert Row("Café", "a", "fr") in kept["train"]
    assert result.summary.splits["train"] == SplitSummary(rows=3, dropped={"blank": 1, "duplicate": 1})
    assert result.summary.shared_texts == [
        SharedTexts(first="train", second="validation", texts=2),
        SharedTexts(first="train", second="test", texts=1),
        SharedTexts(first="validation", second="test", texts=1),
    ]


def test_field_names_can_be_chosen_and_languages_filtered(tmp_path: Path):
    rows = [{"s1": "x", "s2": str(n), "y": n % 2, "l": "de" if n < 4 else "en"} for n in range(8)]
    write_folder(tmp_path, train=rows, validation=rows, test=rows)
    data = Data.model_validate(
        {
            "source": str(tmp_path),
            "fields": {"text": "s1", "text_pair": "s2", "label": "y", "lang": "l"},
            "languages": ["de"],
        }
    )
    kept, result = cleaned(data)
    assert kept["train"][1] == Row("x", "1", "de", "1")
    assert result.summary.splits["train"].dropped["other language"] == 4


@pytest.mark.parametrize(
    ("splits", "data", "message"),
    [
        (
            {"train": [{"text": "x", "lang": "de"}]},
            {},
            "train.jsonl:1: field 'label' is missing (data.fields.label); a row must have text, label, lang; this one",
        ),
        ({"train": [{"text": 5, "label": "a", "lang": "de"}]}, {}, "train.jsonl:1: field 'text' must be text, got int"),
        ({"train": [{"text": "x", "label": 1.5, "lang": "de"}]}, {}, "field 'label' must be a name or a whole number"),
        (
            {"test": [{"text": "x", "label": "new", "lang": "de"}]},
            {},
            "test.jsonl:1: label 'new' does not occur in the",
        ),
        ({"train": ROWS[:1]}, {}, "the train split has one class only ('a')"),
        ({"validation": []}, {}, "no rows are left in the validation split"),
        ({}, {"languages": ["de", "xx"]}, "data.languages: no rows in xx; the data has de, en"),
    ],
)
def test_bad_rows_are_refused_with_their_place(tmp_path: Path, splits: dict, data: dict, message: str):
    folder = write_folder(tmp_path, **splits)
    with pytest.raises(CompressError) as error:
        cleaned(folder.model_copy(update=data))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b'{"text": "x"}\n{"text": ', "rows.jsonl:2: not a JSON object"),
        ("rows.jsonl", b"[1]\n", "rows.jsonl:1: a row must be a JSON object, got list"),
        ("rows.jsonl", b'{"text": "\xff"}\n', "rows.jsonl: not UTF-8 text"),
        ("rows.csv", b"text,label,lang\nx,y\n", "rows.csv:2: the row does not have the header's 3 fields"),
        ("rows.parquet", b"no parquet", "rows.parquet: not a readable Parquet file"),
        ("rows.xml", b"", "rows.xml: unknown kind of file; use one of .jsonl"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CompressError) as error:
        list(read_file(tmp_path / name))
    assert message in str(error.value)


def test_missing_files_and_data_sets_are_named(tmp_path: Path):
    with pytest.raises(CompressError, match=r"no such file or folder"):
        read_splits(Data(source="missing/rows.csv"), 0)
    with pytest.raises(CompressError, match=r"no file for the train split; expected one like train.jsonl"):
        read_splits(Data(source=str(tmp_path)), 0)
    with pytest.raises(CompressError, match=r"neither a file, a folder nor a data set"):
        read_splits(Data(source="no-such-owner/no-such-name"), 0)


def test_a_split_may_be_several_files(tmp_path: Path):
    for language in ("de", "fr"):
        for split in ("train", "dev", "test"):
            row = {"text": f"{split} {language}", "label": "a", "lang": language}
            (tmp_path / f"{language}.{split}.jsonl").write_text(json.dumps(row))
    splits = read_splits(Data(source=str(tmp_path)), 0)
    assert [row["text"] for _, row in splits["validation"]] == ["dev de", "dev fr"]


def test_a_translation_that_is_blank_is_dropped(tmp_path: Path):
    row = {"source": "a", "target": " ", "source_lang": "en", "target_lang": "de"}
    whole = {split: [{**row, "target": "b"}, row] for split in ("train", "validation", "test")}
    raw = {split: [(f"{split}:1", each) for each in rows] for split, rows in whole.items()}
    found = clean(raw, task_named("translation"), Data(), lambda split, row: None)
    assert found.summary.splits["train"] == SplitSummary(rows=1, dropped={"blank": 1, "duplicate": 0})
    assert found.summary.languages == {"en-de": 1}


def test_padding_fills_to_the_longest_row():
    batch = pad([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}], pad_id=1)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_batches_hold_rows_of_similar_length():
    encoded = [{"input_ids": [0] * length} for length in (9, 1, 8, 2)]
    assert list(batches_by_length(encoded, 2)) == [[1, 3], [2, 0]]


def test_rows_are_spread_over_languages():
    languages = ["en"] * 90 + ["ja"] * 10
    chosen = [languages[index] for index in spread_over_languages(languages, 20, seed=0)]
    assert (chosen.count("en"), chosen.count("ja")) == (10, 10)
    assert len(spread_over_languages(languages, 1000, seed=0)) == 100
