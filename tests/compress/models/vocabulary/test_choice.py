"""Which tokens are kept, by what was counted."""

from collections.abc import Sequence

import numpy as np
import pytest

from compress.models.vocabulary.anatomy import Anatomy, Counts
from compress.models.vocabulary.choice import _ranked, chosen_tokens
from compress.recipe.teacher import Vocabulary


@pytest.mark.filterwarnings("error")
def test_a_language_whose_text_has_no_tokens_decides_nothing():
    used, none = np.array([1, 2, 0]), np.zeros(3, dtype=np.int64)
    counts = {"de": Counts(1, used, used, used), "xx": Counts(1, none, none, none)}
    assert _ranked(counts, Vocabulary(trim=True)) == [1, 0]


def filled(tokens: Sequence[str], required: Sequence[str], used: Sequence[str], most: int) -> list[str]:
    """The tokens that are kept of a vocabulary whose text uses some once, in the order of the vocabulary."""
    numbers = {token: number for number, token in enumerate(tokens)}

    def nothing(_: object) -> list[str]:
        return []

    anatomy = Anatomy(numbers, None, frozenset(required), nothing, lambda texts: [], lambda folder, kept: None)
    once = np.array([int(token in used) for token in tokens])
    counts = {"de": Counts(1, once, once, once)}
    kept = chosen_tokens(anatomy, counts, Vocabulary(trim=True, tokens=most, fill=True), [])
    return [tokens[number] for number in kept]


def test_letters_of_special_tokens_are_none_of_the_text():
    tokens = ["<pad>", "<unk>", "<0xAF>", "pad", "fax", "ого", "рог", "г", "о", "р"]
    kept = filled(tokens, ["<pad>", "<unk>", "<0xAF>"], ["<unk>", "г", "о", "р"], most=9)
    assert kept == ["<pad>", "<unk>", "<0xAF>", "ого", "рог", "г", "о", "р"]


def test_bytes_that_are_always_kept_are_characters_where_the_text_has_them():
    tokens = ["<s>", "a", "b", "c", "ab", "cab", "ba"]
    assert filled(tokens, ["<s>", "a", "b", "c"], ["a", "b", "ab"], most=7) == ["<s>", "a", "b", "c", "ab", "ba"]


def test_places_that_are_held_free_are_not_filled_with():
    tokens = ["[PAD]", "[unused1]", "[", "]", "used", "n", "1", "us"]
    kept = filled(tokens, ["[PAD]"], ["[", "]", "used", "n", "1"], most=8)
    assert kept == [token for token in tokens if token != "[unused1]"]
