"""What options say of the recipe."""

import pytest

from compress.cli.options import assigned, listed
from compress.errors import CompressError
from compress.recipe.file import load_recipe


def test_values_are_yaml():
    assert assigned(["student.layers=3", "data.languages=[de, en]", "data.prefix='to {target}: '"]) == {
        "student.layers": 3,
        "data.languages": ["de", "en"],
        "data.prefix": "to {target}: ",
    }


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("seed", "--set seed: expected FIELD=VALUE"),
        ("seed=[", "--set seed=[, line 1: not valid YAML"),
        ("seed=*a", "--set seed=*a, line 1: not valid YAML (found undefined alias"),
        ("seed=&a [*a]", "more than 100,000 values, aliases' included"),
        ("name=!!python/object/apply:os.system [id]", "not valid YAML (could not determine a constructor"),
        ("seed=" + "[" * 3000, "nested too deeply"),
        ("seed=" + "9" * 5000, "not valid YAML (Exceeds the limit"),
        ("seed=\x00", "not valid YAML"),
        ("seed={a: 1, a: 2}", "the key 'a' comes twice"),
    ],
)
def test_what_is_no_assignment_is_told_in_one_short_line(assignment: str, message: str):
    with pytest.raises(CompressError) as error:
        assigned([assignment])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.prefix=translate {source} to {target}: ", "data.prefix: must be text, and YAML reads a mapping here"),
        ("data.languages=de", "data.languages: input should be a valid list (got 'de')"),
        ("student=5", "student: input should be"),
        ("student.layers.x=1", "student.layers: input should be a valid integer"),
        ("a..b=1", "a: unknown field"),
        ("=5", "unknown field"),
    ],
)
def test_what_is_no_value_of_the_field_is_told(assignment: str, message: str):
    with pytest.raises(CompressError) as error:
        load_recipe(None, assigned([assignment]))
    assert message in str(error.value)


def test_an_empty_list_is_not_taken_for_none():
    assert listed(None) is None
    assert listed("") == [""]
    assert listed("de,en") == ["de", "en"]
