"""The fastest of the architectures the whole road, and the table; `python -m bench.studies.architectures` tries all."""

from pathlib import Path

import pytest

from bench.studies.architecture_models import ARCHITECTURES
from bench.studies.architecture_process import FORMS, Outcome, Road, try_architecture
from bench.studies.architectures import (
    RESULTS,
    Entries,
    TriedArchitecture,
    architectures_table,
    markdown,
    refusal_lines,
)


@pytest.mark.parametrize("name", ["mBART"])
def test_a_model_with_its_own_kind_of_tokenizer_goes_the_way_that_the_documentation_tells(name: str, tmp_path: Path):
    told = Entries.validate_json(RESULTS.read_bytes())[name].outcome
    assert try_architecture(ARCHITECTURES[name], tmp_path) == told


def test_no_process_of_an_architecture_died():
    entries = Entries.validate_json(RESULTS.read_bytes())
    assert not entries.keys() - ARCHITECTURES.keys()
    assert not [name for name, entry in entries.items() if entry.outcome is None]


def test_the_table_leads_to_the_lines_that_refused():
    whole, refused = Road(taken=None, forms=dict.fromkeys(FORMS)), Road(taken="no; do this", forms={})
    half = Road(taken=None, forms={**dict.fromkeys(FORMS), "engine": "too far"})
    entries = {
        "mBERT": TriedArchitecture(outcome=Outcome(files=["vocab.txt"], distilled=whole, as_is=half), failure=None),
        "mBART": TriedArchitecture(outcome=Outcome(files=["a.model"], distilled=refused, as_is=refused), failure=None),
        "mT5": TriedArchitecture(outcome=None, failure="took longer than 900 s"),
    }
    first, second, third = architectures_table(entries).rows
    assert first == ["mBERT", "text-classification", "vocab.txt", *["yes"] * 5, "no (1)"]
    assert second == ["mBART", "translation", "a.model", "no (2)", "no (2)", "", "", "", ""]
    assert third == ["mT5", "translation", "", *["no (3)"] * 6]
    assert refusal_lines(entries) == [
        "1. too far",
        "2. no; do this",
        "3. the process that tried it took longer than 900 s",
    ]


def test_the_page_has_the_table():
    assert markdown().splitlines()[0].startswith("| architecture | task | tokenizer's files |")
