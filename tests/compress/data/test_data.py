import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from compress.data.clean import Cleaned, Row, clean
from compress.data.encode import pad, spread_over_languages
from compress.data.read import have_labels, read_file, read_splits
from compress.data.stage import load_plain_text, run_data_stage
from compress.data.summary import SharedTexts, SplitSummary
from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.data import Data, Fields, Negatives
from compress.recipe.file import load_recipe
from compress.runs.directory import Run, open_run
from compress.tasks.registry import TaskName, task_named
from compress.tasks.rows import row_as_dict

ROWS = [{"text": "ein Text", "label": "a", "lang": "de"}, {"text": "a text", "label": "b", "lang": "en"}]


def write_folder(folder: Path, **splits: list[dict]) -> Data:
    for split in ("train", "validation", "test"):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in splits.get(split, ROWS))
        (folder / f"{split}.jsonl").write_text(lines, "utf-8")
    return Data(source=str(folder))


def cleaned(data: Data) -> tuple[dict[str, list[Row]], Cleaned]:
    kept: dict[str, list[Row]] = {"train": [], "validation": [], "test": [], "unlabelled": []}
    task = task_named("text-classification")
    return kept, clean(read_splits(data, seed=0), task, data, lambda split, row: kept[split].append(row))


def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text("\ufeff" + "\n".join(map(json.dumps, ROWS)))
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


@pytest.mark.parametrize("labelled", ["train", "test", None])
def test_a_label_of_any_split_asks_for_all_where_rows_without_one_would_be_relevant(
    labelled: str | None, tmp_path: Path
):
    rows = [{"query": f"query {number % 5}", "passage": f"passage {number}", "lang": "en"} for number in range(10)]
    told = {labelled: [{**row, "label": 0} for row in rows]} if labelled else {}
    data = write_folder(tmp_path, **dict.fromkeys(("train", "validation", "test"), rows) | told)
    with_negatives = data.model_copy(update={"negatives": Negatives(per_query=2)})
    assert have_labels(with_negatives, "reranking") == (labelled is not None)
    assert have_labels(data, "reranking") == (labelled == "test")


def divided(
    path: Path, rows: list[dict], task: TaskName = "text-classification", **data: object
) -> dict[str, list[dict]]:
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read_splits(Data.model_validate({"source": str(path), **data}), 0, task)
    return {split: [row for _, row in rows] for split, rows in found.items()}


def test_rows_of_the_same_text_or_parallel_fall_into_the_same_split(tmp_path: Path):
    rows = [{"text": f" t{number % 50}", "label": "ab"[number % 2], "lang": "en"} for number in range(200)]
    splits = divided(tmp_path / "texts.jsonl", rows)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 160, "validation": 20, "test": 20}
    texts = [{row["text"] for row in rows} for rows in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 50
    # Two rows have the same text, each of them belongs to another group: those are one.
    rows = [
        {"text": f"{n} {lang}", "label": "a", "lang": lang, "group": n // 2} for n in range(60) for lang in ("de", "en")
    ]
    rows[0]["text"] = rows[-1]["text"]
    splits = divided(tmp_path / "groups.jsonl", rows, fields={"parallel": "group"})
    groups = [{row["group"] for row in rows} for rows in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 30
    assert any({0, 29} <= found for found in groups)


def test_questions_about_one_context_and_pairs_of_one_first_text_fall_into_the_same_split(tmp_path: Path):
    rows = [
        {"question": f"q{n}", "context": f"c{n % 20}", "answers": {"text": ["c"], "answer_start": [0]}, "lang": "en"}
        for n in range(100)
    ]
    splits = divided(tmp_path / "questions.jsonl", rows, "question-answering")
    contexts = [{row["context"] for row in rows} for rows in splits.values()]
    assert sum(map(len, contexts)) == len(set.union(*contexts)) == 20
    # The same question about another context is another row.
    splits = divided(tmp_path / "asked.jsonl", [{**row, "question": "what?"} for row in rows], "question-answering")
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 80, "validation": 10, "test": 10}
    rows = [{"text": f"{n % 20}", "text_pair": f"{n % 3} {n}", "label": "a", "lang": "en"} for n in range(100)]
    splits = divided(tmp_path / "pairs.jsonl", rows, fields={"text_pair": "text_pair"})
    premises = [{row["text"] for row in rows} for rows in splits.values()]
    assert sum(map(len, premises)) == len(set.union(*premises)) == 20


def test_a_large_group_of_rows_leaves_the_other_splits_theirs(tmp_path: Path):
    rows = [{"text": "the same" if number < 60 else f"{number}", "label": "a", "lang": "en"} for number in range(100)]
    splits = divided(tmp_path / "rows.jsonl", rows)
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 80, "validation": 10, "test": 10}
    with pytest.raises(CompressError, match=r"100 rows of 1 values of data.fields.text, .* are too few to divide into"):
        divided(tmp_path / "rows.jsonl", [{**row, "text": "the same"} for row in rows])


def test_a_row_of_a_single_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(CompressError, match=r"rows.jsonl:2: field 'label' is missing"):
        divided(tmp_path / "rows.jsonl", [ROWS[0], {"text": "x", "lang": "de"}])


def test_a_configuration_of_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(CompressError, match=r"data.configuration is of a data set on the hub, .* is none"):
        read_splits(Data(source=str(tmp_path), configuration="de"), 0)


def test_text_that_looks_like_a_date_stays_text(tmp_path: Path):
    days = [f"2020-01-0{day}" for day in range(1, 5)]
    tables = {
        "texts": [Row(day, "2021-01-01", "2022-01-01", day, f"{day} 10:00:00") for day in days],
        "words": [Row([day], [] if day == days[0] else ["B-x"], "en") for day in days],
        "answers": [Row(day, {"text": [day], "answer_start": [3]}, "en", day) for day in days],
    }
    for name, rows in tables.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row_as_dict(row)) + "\n" for row in rows))
        assert list(RowTable.open(path, tmp_path / "store")) == list(RowTable.from_rows(rows)) == rows
    (tmp_path / "texts.jsonl").write_text(json.dumps(row_as_dict(Row("new", "a", "en"))))
    assert list(RowTable.open(tmp_path / "texts.jsonl", tmp_path / "store")) == [Row("new", "a", "en")]


@pytest.mark.parametrize("content", ["", "[]\n", '{"text": "x"}\n', '{"text": "x", "label": "a", "lang"', "\udcff"])
def test_rows_that_are_not_as_they_were_written_are_named(tmp_path: Path, content: str):
    path = tmp_path / "data/train.jsonl"
    path.parent.mkdir()
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(CompressError, match=r"data/train.jsonl: damaged or missing; delete .*/data and run"):
        RowTable.open(path, tmp_path / "store")


def test_parallel_rows_in_two_splits_are_told(tmp_path: Path):
    rows = [{**row, "parallel": "7"} for row in ROWS]
    others = [{**row, "text": f"{row['text']}!"} for row in rows]
    data = write_folder(tmp_path, train=rows, validation=others, test=[{**row, "parallel": "8"} for row in others])
    fields = data.fields.model_copy(update={"parallel": "parallel"})
    _, result = cleaned(data.model_copy(update={"fields": fields}))
    assert result.summary.shared_texts == [
        SharedTexts(first="train", second="validation", texts=0, parallel=1),
        SharedTexts(first="validation", second="test", texts=2, parallel=0),
    ]


def test_further_text_needs_no_translation(tmp_path: Path):
    labelled = [{**row, "id": number} for number, row in enumerate(ROWS)]
    data = write_folder(tmp_path, train=labelled, validation=labelled, test=labelled)
    more = tmp_path / "more.jsonl"
    more.write_text('{"text": "no more", "lang": "en"}\n{"text": "nicht mehr", "lang": "de", "id": "x"}\n')
    rows, _ = cleaned(data.model_copy(update={"unlabelled": str(more), "fields": Fields(parallel="id")}))
    assert [row.parallel for row in rows["train"]] == list(map(str, range(len(ROWS))))
    assert rows["unlabelled"] == [Row("no more", "", "en"), Row("nicht mehr", "", "de", parallel="x")]


def test_unused_columns_of_parquet_may_hold_anything(tmp_path: Path):
    far = pyarrow.array([2**50] * 2, pyarrow.timestamp("s"))
    table = pyarrow.Table.from_pylist(ROWS).append_column("when", far)
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    found = [row for _, row in read_file(tmp_path / "rows.parquet")]
    assert [(row["text"], row["lang"]) for row in found] == [(row["text"], row["lang"]) for row in ROWS]
    columns = {"text": "when", "label": "label"}
    with pytest.raises(CompressError, match=r"row 1: field 'when' cannot be read"):
        task_named("text-classification").read_row("row 1", found[0], columns)


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
        (
            {"train": [{"text": "x", "label": "a", "lang": "all"}]},
            {},
            "train.jsonl:1: a language cannot be called 'all'",
        ),
        ({"train": [{"text": "x", "label": ["a"] * 99, "lang": "de"}]}, {}, "got ['a', 'a', 'a', 'a', 'a', 'a', ...]"),
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
        ("rows.jsonl", b'{"text": "x", "text": "y"}\n', "rows.jsonl:1: the key 'text' comes twice; leave one out"),
        ("rows.jsonl", b'{"a": ' + b"[" * 100_000, "rows.jsonl:1: not a row: its JSON is nested too deeply"),
        ("rows.jsonl", bytes(50_000_000), "rows.jsonl:1: a line of 50,000,000 characters or more; write a row a line"),
        ("rows.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", "rows.jsonl:1: not a JSON object"),
        ("rows.csv", b"text,label,text\nx,y,z\n", "rows.csv: the column 'text' comes twice; leave one out"),
        ("rows.csv", b'text,label\n"x" y,a\n', "rows.csv: not valid CSV after line 1"),
        ("rows.csv", b"text,label,lang\nx,y\n", "rows.csv:2: the row does not have the header's 3 fields"),
        ("rows.csv", b"PK\x03\x04\x00\x00\n", "rows.csv: not text but binary data (a zero byte)"),
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


def test_plain_text_is_copied_with_its_languages(tmp_path: Path):
    write_folder(tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text/fr.txt").write_text("du texte\n\nencore\n")
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": "mehr", "lang": "de"}))
    content = {"source": str(tmp_path), "plain_text": [str(tmp_path / "text"), str(tmp_path / "more.jsonl")]}

    def read(**more: object) -> Run:
        fields = {f"data.{name}": value for name, value in {**content, **more}.items()}
        return open_run(load_recipe(None, {**fields, "student.vocabulary_size": 100}), tmp_path / "runs")

    run = read()
    assert run_data_stage(run).plain_text == {"de": 1, "fr": 2}
    assert list(load_plain_text(run)) == [("fr", "du texte"), ("fr", "encore"), ("de", "mehr")]
    assert run_data_stage(read(languages=["de", "en"])).plain_text == {"de": 1}
    with pytest.raises(CompressError, match=r"data.plain_text: no text in en, es"):
        run_data_stage(read(languages=["en", "es"], source=str(write_spanish(tmp_path / "es"))))
    with pytest.raises(CompressError, match=r"nowhere: no such file or folder of text"):
        run_data_stage(read(plain_text=[str(tmp_path / "nowhere")]))


def test_a_passage_may_hold_what_ends_a_line_elsewhere(tmp_path: Path):
    rows = [
        {"query": f"q{number}", "passage": f"one\u2028two\x85{number}-{label}", "label": label, "lang": "en"}
        for number in range(2)
        for label in (0, 1)
    ]
    write_folder(tmp_path, train=rows, validation=rows, test=rows)
    run = open_run(load_recipe(None, {"task": "reranking", "data.source": str(tmp_path)}), tmp_path / "runs")
    assert run_data_stage(run).splits["test"].rows == 4


def test_plain_text_is_in_the_languages_of_pairs_too(tmp_path: Path):
    row = {"source": "ein Text", "target": "a text", "source_lang": "de", "target_lang": "en"}
    write_folder(tmp_path, train=[row], validation=[row], test=[row])
    for language in ("de", "en", "fr"):
        (tmp_path / f"{language}.txt").write_text("ein Text\n")
    fields = {
        "task": "translation",
        "data.source": str(tmp_path),
        "data.languages": ["de-en"],
        "data.plain_text": [str(tmp_path / f"{language}.txt") for language in ("de", "en", "fr")],
        "teacher.model": "theirs",
        "teacher.vocabulary.trim": True,
    }
    run = open_run(load_recipe(None, fields), tmp_path / "runs")
    assert run_data_stage(run).plain_text == {"de": 1, "en": 1}


def write_spanish(folder: Path) -> Path:
    folder.mkdir()
    rows = [{"text": "un texto", "label": "a", "lang": "es"}, {"text": "a text", "label": "b", "lang": "en"}]
    write_folder(folder, train=rows, validation=rows, test=rows)
    return folder


def test_a_translation_that_is_blank_is_dropped(tmp_path: Path):
    row = {"source": "a", "target": " ", "source_lang": "en", "target_lang": "de"}
    whole = {split: [{**row, "target": "b"}, row] for split in ("train", "validation", "test")}
    raw = {split: [(f"{split}:1", each) for each in rows] for split, rows in whole.items()}
    found = clean(raw, task_named("translation"), Data(), lambda split, row: None)
    assert found.summary.splits["train"] == SplitSummary(rows=1, dropped={"blank": 1, "duplicate": 0})
    assert found.summary.languages == {"en-de": 1}


@pytest.mark.parametrize("field", ["text", "label", "lang"])
def test_half_of_a_surrogate_pair_is_no_text(tmp_path: Path, field: str):
    data = write_folder(tmp_path)
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "x", "label": "a", "lang": "de", field: "ab\ud800"}))
    with pytest.raises(CompressError, match=rf"train.jsonl:1: field '{field}' has \\ud800 at character 3, half of a"):
        cleaned(data)


def test_padding_fills_to_the_longest_row():
    batch = pad([{"input_ids": [5, 6, 7]}, {"input_ids": [8]}], pad_id=1)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_rows_are_spread_over_languages():
    languages = ["en"] * 90 + ["ja"] * 10
    chosen = [languages[index] for index in spread_over_languages(languages, 20, seed=0)]
    assert (chosen.count("en"), chosen.count("ja")) == (10, 10)
    assert len(spread_over_languages(languages, 1000, seed=0)) == 100


def test_rows_are_drawn_evenly_over_the_languages_and_queries_with_all_of_their_passages():
    rows = [
        Row(
            f"query {number // 4}", float(number % 4 == 0), "de" if number < 40 else "ja", text_pair=f"passage {number}"
        )
        for number in range(60)
    ]
    table = RowTable.from_rows(rows)
    single = list(table.drawn(task_named("text-classification"), 20, 0))
    assert Counter(row.lang for row in single) == {"de": 10, "ja": 10}
    whole = list(table.drawn(task_named("reranking"), 20, 0))
    assert {*Counter((row.lang, row.text) for row in whole).values()} == {4}
    assert len(whole) == 20
    assert len(table.drawn(task_named("reranking"), 500, 0)) == 60
