"""The shapes that a student may have, for teachers of several architectures."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import small_encoders
import transformers

from bench.fit.candidates import candidates_of, recipe_of, student_of
from bench.fit.report import FitCandidate, FitWeights
from compress.errors import CompressError
from compress.models.build import student_config
from compress.recipe.recipe import Recipe
from compress.recipe.student import Student
from compress.tasks.registry import task_named

LAYERS, WIDTH, HEADS, FEED_FORWARD = 6, 96, 12, 384
SIZES = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED_FORWARD,
}


def taught(folder: Path, architecture: str = "bert", tokens: int = 50, **student: Any) -> Any:
    """A run with a teacher, as far as its shape is concerned."""
    config = small_encoders.CONFIGS[architecture]().to_dict()
    names = {"hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
    renamed = {**names, "intermediate_size": "hidden_dim"} if architecture == "distilbert" else {}
    kind = type(small_encoders.CONFIGS[architecture]())
    sizes = {renamed.get(name, name): size for name, size in SIZES.items()}
    layers = {"layer_types": ["full_attention"] * LAYERS} if architecture == "modernbert" else {}
    kind.from_dict({**config, **sizes, **layers, "vocab_size": tokens}).save_pretrained(folder)
    (folder / "model.safetensors").touch()  # no weight is read
    return SimpleNamespace(
        task=task_named("text-classification"),
        recipe=Recipe.model_validate({"student": student}),
        trusts_code=False,
        summary=lambda stage: SimpleNamespace(layers=LAYERS, width=WIDTH, heads=HEADS),
        path_of=lambda stage: folder,
    )


@pytest.mark.parametrize("architecture", small_encoders.CONFIGS)
def test_every_candidate_is_a_student_of_this_teacher(architecture: str, tmp_path: Path):
    run = taught(tmp_path, architecture)
    found = [one for one in candidates_of(run, 40) if not one.is_static]
    weights = candidates_of(run, 40)
    assert len(found) == 40
    teacher = transformers.AutoConfig.from_pretrained(tmp_path)
    for candidate in found[::7]:
        config = student_config(teacher, student_of(candidate, run.recipe.student))
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        assert config.num_hidden_layers == candidate.layers
        assert config.hidden_size == candidate.hidden_size
        assert sum(weight.numel() for weight in model.parameters()) == sum(dict(weights[candidate]).values())
    narrow = {candidate.initialization for candidate in found if not candidate.every_nth_layer}
    assert narrow == {"embeddings" if architecture == "deberta-v2" else "svd"}


def test_wide_ones_copy_layers_and_narrow_ones_keep_the_width_of_heads(tmp_path: Path):
    found = [one for one in candidates_of(taught(tmp_path), 40) if not one.is_static]
    steps = {one.layers: one.every_nth_layer for one in found if one.every_nth_layer}
    assert steps == {1: 6, 2: 3, 3: 2}
    assert all(one.hidden_size == 8 * one.heads for one in found)
    assert max(one.layers for one in found) < LAYERS
    assert {one.hidden_size for one in found} == {24, 32, 48, 64, 96}


def test_the_recipe_says_what_narrow_ones_begin_from(tmp_path: Path):
    found = candidates_of(taught(tmp_path, initialization="importance"), 40)
    assert {one.initialization for one in found if not one.is_static} == {"importance"}
    random = candidates_of(taught(tmp_path, initialization="random"), 40)
    assert all(one.every_nth_layer is None for one in random)


def test_all_else_of_the_recipe_stays(tmp_path: Path):
    run = taught(tmp_path, training={"epochs": 5}, distillation={"alpha": 0.3})
    candidate = next(one for one in candidates_of(run, 40) if not one.every_nth_layer)
    student = recipe_of(candidate, run.recipe).student
    assert (student.training.epochs, student.distillation.alpha) == (5, 0.3)
    assert (student.layers, student.hidden_size, student.heads) == (
        candidate.layers,
        candidate.hidden_size,
        candidate.heads,
    )


def test_shapes_that_cannot_learn_what_the_recipe_asks_for_are_none(tmp_path: Path):
    run = taught(tmp_path, distillation={"attention": {"weight": 1.0}})
    assert {one.heads for one in candidates_of(run, 40) if not one.is_static} == {HEADS}
    run = taught(tmp_path, distillation={"relations": {"weight": 1.0, "heads": 7}})
    with pytest.raises(CompressError, match=r"relations.heads: 7 does not divide the widths"):
        candidates_of(run, 40)


def test_a_student_may_have_fewer_of_the_teachers_tokens(tmp_path: Path):
    run = taught(tmp_path, tokens=250_000)
    found = candidates_of(run, 17_000)
    assert {one.tokens for one in found} == {None, 17_000, 8_500, 4_250}
    largest = max(found, key=lambda one: sum(dict(found[one]).values()))
    fewer = largest.model_copy(update={"tokens": 8_500})
    assert found[fewer].embeddings == 8_500 * largest.hidden_size
    assert found[fewer].others == found[largest].others
    assert largest.covers(fewer)
    assert not fewer.covers(largest)
    assert recipe_of(fewer, run.recipe).student.vocabulary_size == 8_500
    # All of these are used: fewer are hardly a smaller student.
    assert {one.tokens for one in candidates_of(run, 240_000)} == {None, 120_000, 60_000}


@pytest.mark.parametrize(
    "student", [{"tokenizer": {}}, {"distillation": {"hidden": {"weight": 1.0}}}, {"vocabulary_size": 5000}]
)
def test_where_tokens_are_given_or_compared_all_candidates_have_the_same(student: dict, tmp_path: Path):
    run = taught(tmp_path, tokens=250_000, **student)
    found = candidates_of(run, 17_000)
    assert {one.tokens for one in found if not one.is_static} == {None}
    sizes = {student_of(one, run.recipe.student).vocabulary_size for one in found if not one.is_static}
    assert sizes == {student.get("vocabulary_size")}


def test_static_ones_are_tables_of_vectors_of_several_lengths(tmp_path: Path):
    signals = {"hidden": {"weight": 1.0}, "sentences": {"weight": 1.0}}
    run = taught(tmp_path, tokens=250_000, distillation={"alpha": 0.3, **signals}, training={"learning_rate": 0.001})
    found = {one: weights for one, weights in candidates_of(run, 17_000).items() if one.is_static}
    assert {one.hidden_size for one in found} == {24, 32, 48, 64, 96}
    assert {one.tokens for one in found} == {None, 17_000, 8_500, 4_250}
    one = next(one for one in found if one.name == "static-64-8500")
    assert found[one] == FitWeights(embeddings=64 * 8_500, others=3 * 64 + 3)
    student = student_of(one, run.recipe.student)
    assert (student.kind, student.hidden_size, student.vocabulary_size) == ("static", 64, 8_500)
    assert student.distillation.alpha == 0.3
    assert student.distillation.layer_signals == []  # which it has no layers for
    assert student.training.learning_rate == 0.01
    assert student_config(transformers.AutoConfig.from_pretrained(tmp_path), student).model_type == "static-embedding"


@pytest.mark.parametrize(
    ("task", "student"), [("reranking", {}), ("token-classification", {}), ("text-classification", {"tokenizer": {}})]
)
def test_where_a_student_cannot_be_static_none_is(task: str, student: dict, tmp_path: Path):
    run = taught(tmp_path, **student)
    run.task = task_named(task)
    assert not any(one.is_static for one in candidates_of(run, 40))


def test_where_plain_text_says_which_tokens_are_kept_no_candidate_has_all(tmp_path: Path):
    run = taught(tmp_path, tokens=250_000)
    run.recipe = Recipe.model_validate({"data": {"plain_text": ["more.txt"]}})
    assert {one.tokens for one in candidates_of(run, 17_000)} == {17_000, 8_500, 4_250}
    assert {one.tokens for one in candidates_of(run, 900)} == {900}
    trimmed = {"trim": True}
    run.recipe = Recipe.model_validate({"data": {"plain_text": ["more.txt"]}, "teacher": {"vocabulary": trimmed}})
    assert None in {one.tokens for one in candidates_of(run, 17_000)}  # the teacher has no other tokens


def test_a_larger_candidate_covers_a_smaller_one():
    def shape(layers: int, width: int, wide: int) -> FitCandidate:
        return FitCandidate(
            layers=layers, hidden_size=width, heads=2, feed_forward_size=wide, initialization=Student().initialization
        )

    assert shape(2, 64, 128).covers(shape(1, 64, 128))
    assert not shape(2, 64, 128).covers(shape(1, 64, 256))
