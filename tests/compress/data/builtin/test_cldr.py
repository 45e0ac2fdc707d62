"""The built-in data set keeps its promises."""

import random

import pytest

from compress.data.builtin import cldr


@pytest.fixture(scope="module")
def data():
    return cldr.generate(0)


def test_languages_scripts_and_kinds(data):
    assert len({row["lang"] for row in data["test"]}) == 14
    assert {row["label"] for row in data["test"]} == set(cldr.KINDS)
    texts = "".join(row["text"] for row in data["train"])
    for letter in ("a", "я", "λ", "م", "ह", "ก", "ひ", "한", "中"):  # nine scripts
        assert letter in texts


def test_the_same_seed_gives_the_same_rows(data):
    assert cldr.generate(0) == data
    assert cldr.generate(1) != data


def test_no_entry_of_a_table_and_no_written_form_is_in_two_splits():
    forms = cldr._all_forms()
    divided = cldr._divide(forms, random.Random("0-divide"))
    assert sum(len(entries) for entries in divided.values()) == len(forms)
    written = {
        split: {form.casefold() for entry in entries for by_language in forms[entry].values() for form in by_language}
        for split, entries in divided.items()
    }
    assert not written["train"] & written["test"]
    assert not written["train"] & written["validation"]
    assert not written["validation"] & written["test"]


def test_no_text_is_in_two_splits_or_under_two_labels(data):
    labels: dict[str, str] = {}
    for rows in data.values():
        for text in {row["text"] for row in rows}:
            assert text not in labels
            labels[text] = ""


def test_every_kind_has_rows_in_every_language_of_every_split(data):
    for split, rows in data.items():
        found = {(row["lang"], row["label"]) for row in rows}
        assert len(found) == 14 * len(cldr.KINDS), split


def test_units_are_written_by_babel_and_not_by_their_key(data):
    assert not [row["text"] for rows in data.values() for row in rows if "duration-" in row["text"]]


def test_parallel_rows_say_the_same_in_all_languages_of_entries_of_their_split_alone():
    data = cldr.generate_parallel(0)
    for rows in data.values():
        groups: dict[str, dict[str, str]] = {}
        for row in rows:
            groups.setdefault(row["parallel"], {})[row["lang"]] = row["text"]
        assert all(len(group) == len(cldr.LANGUAGES) for group in groups.values())
        assert len({(row["lang"], row["text"]) for row in rows}) == len(rows)
    assert {"Januar", "January", "enero"} <= _words_of(data)
    assert cldr.generate_parallel(0)["test"] == data["test"]
    money = {row["lang"]: row["text"] for row in data["train"] if row["parallel"] == "money 1"}
    assert len({"".join(sign for sign in money[name] if sign.isdigit()) for name in ("de", "en", "fr", "ja")}) == 1


def _words_of(data: dict[str, list[dict[str, str]]]) -> set[str]:
    return {word.strip(",.") for rows in data.values() for row in rows for word in row["text"].split()}
