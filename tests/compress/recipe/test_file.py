import re
from pathlib import Path

import pytest

from compress.errors import CompressError
from compress.recipe.file import RENAMED, load_recipe, save_recipe
from compress.recipe.recipe import Recipe


def test_the_empty_recipe_is_the_demo(tmp_path: Path):
    empty = tmp_path / "empty.yaml"
    empty.write_text("")
    assert load_recipe(empty) == load_recipe(None) == Recipe()
    assert Recipe().data.source == "cldr"


def test_overrides_replace_the_file(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("student:\n  layers: 3\n  hidden_size: 64\n")
    recipe = load_recipe(path, {"student.layers": 5, "teacher.scratch.pretraining.epochs": 2})
    assert (recipe.student.layers, recipe.student.hidden_size) == (5, 64)
    assert recipe.teacher.scratch.pretraining is not None
    assert recipe.teacher.scratch.pretraining.epochs == 2


def test_a_saved_recipe_is_read_back_equal(tmp_path: Path):
    recipe = load_recipe(None, {"data.languages": ["de", "ja"], "export.tensorrt.enabled": True})
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("student: {layer: 2}", "student.layer: unknown field; did you mean 'layers'?"),
        ("studnt: {}", "studnt: unknown field; did you mean 'student'?"),
        ("bench: {zzz: 1}", "bench.zzz: unknown field; valid here: rows, batch_sizes"),
        ("export: {tensorrt: {profiles: [{batches: [1, 2, 3]}]}}", "profiles.0.batches: unknown field; did you mean"),
        ("export: {tensorrt: {profiles: [{batch: [3, 2, 1]}]}}", "batch must be minimum <= optimum <= maximum"),
        ("student: {distillation: {alpha: 2}}", "student.distillation.alpha: input should be less than or equal to 1"),
        ("student: {hidden_size: 100, heads: 3}", "hidden_size 100 must be a multiple of heads 3"),
        ("data: {train: a.csv}", "train, validation and test must be given together"),
        ("name: ../elsewhere", "name: string should match pattern"),
        ("task: translation", "data.source: the built-in data has no rows for translation; name a file or folder"),
        (
            "{task: translation, data: {source: a}, student: {distillation: {hidden: {weight: 1}}}}",
            "student.distillation.hidden.weight is for models that read, the task is translation; leave it out",
        ),
        ("student: {decoder_layers: 1}", "student.decoder_layers is for translation, the task is text-classification"),
        (
            "{task: token-classification, evaluation: {baseline: true}}",
            "evaluation.baseline is for text-classification, the task is token-classification; leave it out",
        ),
        ("data: {prefix: 'to {language}: '}", "data.prefix: only {source} and {target} can be filled in"),
        ("- a list", "a recipe is a mapping of fields, got list"),
        ("a: [", "line 1: not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, content: str, message: str):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(CompressError) as error:
        load_recipe(path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_recipe_is_said(tmp_path: Path):
    with pytest.raises(CompressError, match=r"no such recipe"):
        load_recipe(tmp_path / "none.yaml")


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_earlier_name_is_refused_with_the_new_one(old: str, new: str):
    with pytest.raises(CompressError, match=re.escape(f"{old}: is called {new} now; rename it")):
        load_recipe(None, {"teacher.scratch.pretraining.epochs": 1, old: {}})


def test_a_section_given_in_part_keeps_its_other_defaults():
    student = load_recipe(None, {"student.training.epochs": 3}).student.training
    assert student == load_recipe(None).student.training.model_copy(update={"epochs": 3})
