import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

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
        ("student: {tokenizer: {longest_piece: 1}}", "longest_piece 1: a pair has 2 or more; use unigram"),
        ("student: {hidden_size: 100, heads: 3}", "hidden_size 100 must be a multiple of heads 3"),
        ("data: {train: a.csv}", "train, validation and test must be given together"),
        (
            "student: {augmentation: {copies: 1}, distillation: {pivot: en}}",
            "student: augmentation.copies: no copy has a parallel sentence that distillation.pivot could be of",
        ),
        (
            "{task: question-answering, data: {source: a}, student: {augmentation: {copies: 1}}}",
            "student.augmentation is for text-classification, the task is question-answering; leave it out",
        ),
        ("student: {augmentation: {kinds: [joint]}}", "student.augmentation.kinds.0: input should be 'pieces'"),
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
        ("data: {prefix: '{source.__class__}'}", "data.prefix: only {source} and {target} can be filled in"),
        ("data: {prefix: '{source:>1000000000}'}", "data.prefix: only {source} and {target} can be filled in"),
        ("data: {prefix: '{source!r}'}", "data.prefix: only {source} and {target} can be filled in"),
        (
            "data: {prefix: 'a } b'}",
            "data.prefix: only {source} and {target} can be filled in; write other braces",
        ),
        (
            "data:\n  prefix: {translate to target: }",
            "data.prefix: must be text, and YAML reads a mapping here; put it in quotes",
        ),
        ("data: {languages: [en, no]}", "data.languages.1: must be text, and YAML reads False here; put it in quotes"),
        (
            "student: {distillation: {alpha: no}}",
            "student.distillation.alpha: must be a number, and YAML reads true or false here (got False)",
        ),
        ("seed: 1\nname: !!binary aGVsbG8=", "line 2: bytes (!!binary); no field of a recipe has any"),
        ("bench: {batch_sizes: [8, true]}", "bench.batch_sizes: must be a number, and YAML reads true or false here"),
        ("export: {tensorrt: {enabled: 0}}", "export.tensorrt.enabled: must be true or false (got 0)"),
        ("export: {opset: 17}", "export.opset: input should be greater than or equal to 18"),
        ("export: {opset: 26}", "export.opset: input should be less than or equal to 25"),
        (
            "export: {opset: 18, variants: [onnx-int8, onnx-int4]}",
            "export: variants: onnx-int4 needs opset 20 or later, and opset is 18; leave one out",
        ),
        (
            "export: {target: web, variants: [onnx-int8, onnx-static]}",
            "variants: onnx-static is not for browsers, and target is web; name onnx-int8, onnx-fp16, onnx-int4",
        ),
        (
            "export: {target: web, tensorrt: {enabled: true}}",
            "export: tensorrt: browsers run no engines, and target is web; leave one out",
        ),
        ("data: {source: ''}", "data.source: string should have at least 1 character"),
        ("name: latest", "name: 'latest' is the link to the newest run; choose another name"),
        ("seed: 1\nname: x\nseed: 2", "line 3: the key 'seed' comes twice; leave one out"),
        (f"seed: {'9' * 5000}", "not valid YAML (Exceeds the limit"),
        ("seed: 2020-99-99", "not valid YAML (month must be in 1..12)"),
        ("name: " + "[" * 5000, "nested too deeply for a recipe"),
        ("name: &a [*a]", "more than 100,000 values, aliases' included; no recipe has so many"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefgh")),
            "more than 100,000 values, aliases' included; no recipe has so many",
        ),
        ("student: {layers: 1000000000000}", "student.layers: input should be less than or equal to 1000"),
        ("student: {hidden_size: 99999999999999999999}", "student.hidden_size: input should be less than or equal to"),
        (
            "student: {distillation: {hidden: {weight: 1.0e+30}}}",
            "hidden.weight: input should be less than or equal to",
        ),
        ("teacher: {training: {learning_rate: 1.0e+9}}", "learning_rate: input should be less than or equal to 1000"),
        ("student: {distillation: {temperature: 1.0e-320}}", "temperature: input should be greater than or equal to"),
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


def test_a_recipe_is_a_file_of_some_size(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").touch()
    os.truncate(tmp_path / "large.yaml", 10**12)
    for path in (tmp_path, tmp_path / "pipe.yaml", tmp_path / "large.yaml"):
        with pytest.raises(CompressError, match="not a recipe but a folder, a pipe or a device, or more than"):
            load_recipe(path)


def test_what_is_wrong_is_told_shortly(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"task: {'x' * 10_000}\n{'y' * 1000}: 1\n" + "".join(f"f{number}: 1\n" for number in range(100)))
    with pytest.raises(CompressError, match=r"xxx.*; and 92 more$") as error:
        load_recipe(path)
    assert len(str(error.value)) < 3000


def numbers(section: BaseModel, path: str = "") -> Iterator[str]:
    """All fields of a recipe that take a number, by their dotted names."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from numbers(value, f"{path}{name}.")
        elif any(kind in str(field.annotation) for kind in ("float", "int")):
            yield f"{path}{name}"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_number_is_infinite_or_none_at_all(value: float):
    fields = list(numbers(Recipe()))
    assert len(fields) > 60
    for field in fields:
        with pytest.raises(CompressError, match=re.escape(field)):
            load_recipe(None, {field: value})
        with pytest.raises(CompressError, match=re.escape(field)):
            load_recipe(None, {field: [value]})


def test_what_an_alias_shares_is_overridden_in_one_place_alone(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("teacher: {training: &shared {epochs: 1}}\nstudent: {training: *shared}")
    recipe = load_recipe(path, {"student.training.epochs": 5})
    assert (recipe.teacher.training.epochs, recipe.student.training.epochs) == (1, 5)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_earlier_name_is_refused_with_the_new_one(old: str, new: str):
    with pytest.raises(CompressError, match=re.escape(f"{old}: is called {new} now; rename it")):
        load_recipe(None, {"teacher.scratch.pretraining.epochs": 1, old: {}})


def test_a_section_given_in_part_keeps_its_other_defaults():
    student = load_recipe(None, {"student.training.epochs": 3}).student.training
    assert student == load_recipe(None).student.training.model_copy(update={"epochs": 3})
