import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field

from compress.recipe.recipe import Recipe
from compress.recipe.reference import commented_recipe, field_paths, recipe_schema, reference_page

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
RECIPES = [path for path in EXAMPLES if "recipe" not in yaml.safe_load(path.read_text("utf-8"))]  # else: a study of one


class Oven(BaseModel):
    """What bakes."""

    model_config = ConfigDict(extra="forbid")

    degrees: Annotated[int, Field(ge=50, le=250)] = Field(180, description="in the middle")
    mode: Literal["fan", "grill"] = "fan"


class Timer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[float, Field(gt=0)]


class Cake(BaseModel):
    """A cake."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, description="null: no name")
    layers: Annotated[list[str], Field(min_length=1)] = Field(["cream"], description="from below")
    oven: Oven = Oven()
    grill: Oven = Oven(degrees=250, mode="grill")
    timer: Timer = Timer(minutes=30)
    decoration: list[Timer] | None = Field(None, description="what comes later; null: nothing")


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    content = json.loads(recipe_schema())
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content)


def names_in(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for section in sections_in(field.annotation):
            yield from names_in(section)


def sections_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from sections_in(part)


def test_the_commented_recipe_is_the_default_recipe():
    content = yaml.safe_load(commented_recipe())
    assert Recipe.model_validate(content) == Recipe()
    assert list(content) == list(Recipe.model_fields)


def test_every_field_occurs_in_the_commented_recipe_and_on_the_page():
    names = set(names_in(Recipe))
    assert {"max_length", "heads", "limit_gb", "profiles", "length"} <= names
    assert names <= set(re.findall(r"^[ #-]*(\w+):", commented_recipe(), re.MULTILINE))
    assert names <= set(re.findall(r"`(?:[\w\[\]]+\.)*(\w+)`", reference_page()))


def test_no_line_of_the_commented_recipe_is_long():
    assert max(map(len, commented_recipe().splitlines())) <= 120


def test_a_commented_recipe_says_meaning_type_bounds_and_default():
    assert commented_recipe(Cake) == (
        "# A cake.\n"
        "# Every field with its default; a recipe names only what is its own.\n"
        "\n"
        "# null: no name (text or null)\n"
        "name: null\n"
        "# from below (list of 1 or more: text)\n"
        "layers: [cream]\n"
        "\n"
        "# What bakes.\n"
        "oven:\n"
        "  # in the middle (whole number, 50 to 250)\n"
        "  degrees: 180\n"
        "  # fan or grill\n"
        "  mode: fan\n"
        "\n"
        "# What bakes.\n"
        "# Given in part, what it leaves out is not as here: degrees 180, mode fan.\n"
        "grill:\n"
        "  # in the middle (whole number, 50 to 250)\n"
        "  degrees: 250\n"
        "  # fan or grill\n"
        "  mode: grill\n"
        "\n"
        "# Given in part, it needs minutes.\n"
        "timer:\n"
        "  # number, more than 0\n"
        "  minutes: 30.0\n"
        "\n"
        "# what comes later; null: nothing (list of sections, or null; its fields are those of timer)\n"
        "decoration: null\n"
    )


def test_a_page_has_a_heading_and_a_table_for_each_section():
    page = reference_page(Cake)
    assert "| `layers` | list of 1 or more: text | `[cream]` | from below |" in page
    assert "| [`oven`](#oven) | section |  |  |" in page
    assert "## oven { #oven }\n\nWhat bakes.\n\n| field |" in page
    assert "| `grill.degrees` | whole number, 50 to 250 | `250` | in the middle |" in page
    assert "By default `null`. Each entry has these fields." in page
    assert "| `decoration[].minutes` | number, more than 0 |  |  |" in page


def test_field_paths_are_what_set_takes():
    paths = field_paths()
    assert {"seed", "student.distillation.hidden.weight", "export.tensorrt.profiles"} <= set(paths)
    assert len(paths) == len(set(paths))
    assert field_paths(Cake)[:4] == ["name", "layers", "oven", "oven.degrees"]


def test_an_editor_learns_from_the_schema_what_a_field_means():
    content = json.loads(recipe_schema())
    assert content["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert content["title"] == "Recipe of compress"
    assert content["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in content["$defs"].values())
    length = content["$defs"]["Data"]["properties"]["max_length"]
    assert "tokens of a row" in length["description"]
    assert (length["minimum"], length["maximum"], length["default"]) == (8, 8192, 64)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_schema_accepts_the_examples(schema: Draft202012Validator, path: Path):
    schema.validate(yaml.safe_load(path.read_text("utf-8")))


def test_the_schema_accepts_the_default_recipe_and_an_empty_one(schema: Draft202012Validator):
    schema.validate(yaml.safe_load(commented_recipe()))
    schema.validate({})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("studnt: {}", "'studnt' was unexpected"),
        ("student: {layer: 2}", "'layer' was unexpected"),
        ("export: {tensorrt: {profiles: [{batches: [1, 2, 3]}]}}", "is not valid under any of the given schemas"),
        ("student: {layers: many}", "'many' is not of type 'integer'"),
        ("student: {distillation: {alpha: 2}}", "2 is greater than the maximum of 1"),
        ("task: poetry", "'poetry' is not one of"),
    ],
)
def test_the_schema_refuses_what_a_recipe_cannot_be(schema: Draft202012Validator, content: str, message: str):
    errors = [error.message for error in schema.iter_errors(yaml.safe_load(content))]
    assert len(errors) == 1
    assert message in errors[0]


def test_every_number_of_a_recipe_has_an_upper_bound():
    assert list(unbounded_numbers(json.loads(recipe_schema()))) == []


def unbounded_numbers(node: object) -> Iterator[object]:
    """What a schema says of numbers that may be as large as anyone writes them."""
    if isinstance(node, dict):
        if node.get("type") in ("number", "integer") and not {"maximum", "exclusiveMaximum", "enum"} & node.keys():
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from unbounded_numbers(part)
