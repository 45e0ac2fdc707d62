import re
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from compress.data.table import RowTable
from compress.errors import CompressError
from compress.recipe.student import Augmentation
from compress.tasks.rows import Row
from compress.teacher.copies import Spans, check_copies, copies_of, units_of

ENGLISH = "one two three four five six seven eight nine ten"
GERMAN = "eins zwei drei vier fünf sechs sieben acht neun zehn"
THAI = "หนึ่งสองสามสี่ห้าหกเจ็ดแปดเก้าสิบ"
ROWS = RowTable.from_rows([Row(ENGLISH, "a", "en", parallel="1"), Row(GERMAN, "a", "de", parallel="1")])


def by_pairs(texts: Sequence[str]) -> list[Spans]:
    """Tokens of two characters, the blank before a word counted to its first one."""
    return [[found.span() for found in re.finditer(r"\s*\S{1,2}", text)] for text in texts]


def made(kind: str, rows: RowTable = ROWS, copies: int = 20, seed: int = 0) -> list[Row]:
    return list(copies_of(rows, by_pairs, Augmentation(copies=copies, kinds=[kind]), seed))


def test_a_piece_is_a_part_of_the_text_and_ends_between_words():
    pieces = made("pieces")
    assert len(pieces) > 20
    for piece in pieces:
        whole = ENGLISH if piece.lang == "en" else GERMAN
        assert f" {piece.text} " in f" {whole} "
        assert 3 <= len(piece.text.split()) <= 8
        assert piece.label == ""


def test_words_are_left_out_and_the_others_stay_in_order():
    for copy in made("dropped"):
        whole = iter((ENGLISH if copy.lang == "en" else GERMAN).split())
        assert all(word in whole for word in copy.text.split())


def test_a_joined_copy_has_words_of_two_texts():
    mixed = [copy for copy in made("joined") if {*copy.text.split()} & {*ENGLISH.split()} & {*copy.text.split()}]
    assert any({*copy.text.split()} & {*GERMAN.split()} for copy in mixed)


def test_a_sentence_ends_as_its_translation_does():
    for copy in made("translations"):
        first, last = (ENGLISH, GERMAN) if copy.lang == "en" else (GERMAN, ENGLISH)
        words = copy.text.split()
        own = sum(word in first.split() for word in words)
        assert words == [*first.split()[:own], *last.split()[own:]]
        assert 3 <= own <= 7


def test_a_query_ends_as_its_translation_does_not_as_its_passage_nor_as_another_in_its_language():
    others = [Row(THAI, "", "de", parallel="1", kind="passage"), Row("no more", "", "en", parallel="1", kind="query")]
    queries = [replace(row, kind="query") for row in ROWS]
    copies = made("translations", RowTable.from_rows([*queries, *others]))
    english, german = {*ENGLISH.split(), "no", "more"}, {*GERMAN.split()}
    words = [{*copy.text.split()} for copy in copies if copy.kind == "query"]
    assert words
    assert all(found & english and found & german and found <= english | german for found in words)


def test_without_a_translation_it_is_a_piece():
    alone = RowTable.from_rows([Row(ENGLISH, "a", "en"), Row(GERMAN, "a", "de")])
    assert all(copy.text in (ENGLISH if copy.lang == "en" else GERMAN) for copy in made("translations", alone))


def test_text_without_blanks_is_cut_between_tokens():
    pieces = made("pieces", RowTable.from_rows([Row(THAI, "a", "th")]))
    assert len({copy.text for copy in pieces}) > 5
    assert all(THAI.index(copy.text) % 2 == 0 for copy in pieces)


def test_of_pairs_the_second_text_is_changed():
    for copy in made("pieces", RowTable.from_rows([Row("what?", "a", "en", text_pair=ENGLISH)])):
        assert copy.text == "what?"
        assert copy.text_pair in ENGLISH


def test_copies_are_the_same_again_but_for_another_seed_others():
    assert made("joined") == made("joined") != made("joined", seed=1)


def test_nothing_comes_twice_and_no_row_is_its_own_copy():
    rows = RowTable.from_rows([Row("word", "a", "en"), Row("one two", "a", "en")])
    texts = [copy.text for copy in made("dropped", rows, copies=50)]
    assert sorted(texts) == ["one", "two"]


def test_more_than_one_block_is_copied(monkeypatch):
    monkeypatch.setattr("compress.teacher.copies._BLOCK", 3)
    rows = RowTable.from_rows([Row(f"{number} {ENGLISH}", "a", "en") for number in range(8)])
    numbers = [int(copy.text.split()[0]) for copy in made("dropped", rows, copies=1) if copy.text[0].isdigit()]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 3


def test_a_token_with_the_blank_before_it_begins_at_its_word():
    assert units_of("so was", [(0, 2), (2, 4), (4, 6)]) == [(0, 2), (3, 6)]
    assert units_of("🙂 a", [(0, 1), (0, 1), (1, 3)]) == [(0, 1), (2, 3)]  # bytes of one character
    assert units_of("  ", [(0, 2)]) == []
    assert np.shape(units_of("เ" * 14, [(n, n + 2) for n in range(0, 14, 2)])) == (7, 2)


def test_a_tokenizer_that_does_not_tell_where_its_tokens_are_is_refused_before_anything_is_trained():
    check_copies(SimpleNamespace(is_fast=True))
    with pytest.raises(CompressError, match=r"does not tell where its tokens are \(no tokenizer.json\); set copies: 0"):
        check_copies(SimpleNamespace(is_fast=False))
