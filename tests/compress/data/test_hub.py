"""Data sets of the hub: configurations, splits, and labels that are numbers with names."""

import datasets
import pytest

from compress.data.clean import Row, clean
from compress.data.read import have_labels, read_splits, rows_of_dataset
from compress.errors import CompressError
from compress.recipe.data import Data, Negatives
from compress.tasks.registry import task_named


def test_hub_labels_of_minus_one_are_no_labels():
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["bad", "good"]),
            "lang": datasets.Value("string"),
        }
    )
    columns = {"text": ["x", "y", "z"], "label": [1, -1, 0], "lang": ["de"] * 3}
    split = datasets.Dataset.from_dict(columns, features=features)
    loaded = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), split))
    kept: list[Row] = []
    data, task = Data(source="owner/name"), task_named("text-classification")
    found = clean(rows_of_dataset(loaded, data), task, data, lambda _, row: kept.append(row))
    assert [(row.text, row.label) for row in kept[:2]] == [("x", "good"), ("z", "bad")]
    assert found.summary.splits["train"].dropped == {"blank": 0, "duplicate": 0, "without a label": 1}
    hidden = datasets.Dataset.from_dict({**columns, "label": [-1] * 3}, features=features)
    with pytest.raises(CompressError, match=r"left in the test split \(3 before cleaning, 3 without a label\)"):
        clean(rows_of_dataset(datasets.DatasetDict({**loaded, "test": hidden}), data), task, data, lambda *_: None)


def test_a_data_set_of_the_hub_is_read_in_its_configuration(monkeypatch: pytest.MonkeyPatch):
    def load(name: str, configuration: str | None) -> datasets.DatasetDict:
        rows = datasets.Dataset.from_dict({"text": [f"{name} {configuration}"]})
        return datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), rows))

    monkeypatch.setattr(datasets, "load_dataset", load)
    for configuration in (None, "de"):
        splits = read_splits(Data(source="owner/name", configuration=configuration), seed=0)
        assert [row["text"] for _, row in splits["test"]] == [f"owner/name {configuration}"]


@pytest.mark.parametrize("labels", [None, [None] * 4, [1.0, None, None, None]])
def test_passages_of_the_hub_need_no_labels_where_other_rows_negatives_are_added(
    labels: list[float | None] | None, monkeypatch: pytest.MonkeyPatch
):
    columns = {"query": [f"query {row}" for row in range(4)], "passage": [f"passage {row}" for row in range(4)]}
    rows = datasets.Dataset.from_dict({**columns, **({"label": labels} if labels else {})})
    loaded = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), rows))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: loaded)
    data = Data(source="owner/name", negatives=Negatives(per_query=1))
    assert have_labels(data, "reranking") == bool(labels and labels[0])


def test_hub_numbers_that_name_no_label_are_refused():
    words = datasets.Features({"tags": datasets.List(datasets.ClassLabel(names=["O", "B-x"]))})
    split = datasets.Dataset.from_dict({"tags": [[0, 1], [0, -1]]}, features=words)
    loaded = datasets.DatasetDict(dict.fromkeys(("train", "validation", "test"), split))
    rows = rows_of_dataset(loaded, Data(source="owner/name"))["train"]
    with pytest.raises(CompressError, match=r"owner/name train:2: field 'tags' has -1 in place of a label"):
        list(rows)


def test_a_hub_data_set_gives_names_for_numbered_labels():
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    split = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, 0]}, features=features)
    loaded = datasets.DatasetDict({"train": split, "dev": split, "test": split})
    rows = rows_of_dataset(loaded, Data(source="owner/name"))
    assert [row["label"] for _, row in rows["validation"]] == ["good", "bad"]
    with pytest.raises(CompressError, match=r"no test split; it has train"):
        rows_of_dataset(datasets.DatasetDict({"train": split, "dev": split}), Data(source="owner/name"))
