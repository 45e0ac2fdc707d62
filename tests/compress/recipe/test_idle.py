"""Fields that say how something is done which is not done are refused in one line."""

import pytest

from compress.errors import CompressError
from compress.recipe.file import load_recipe

RANKING = {"task": "reranking", "data.source": "rows.jsonl"}
DISTILLATION = "student.distillation"
VECTORS = {"task": "embedding", "data.source": "rows.jsonl", "teacher.model": "theirs", "teacher.fine_tune": False}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**RANKING, "data.negatives.by": "words"}, "no effect where data.negatives.per_query is 0; leave it out, or"),
        ({"student.augmentation.kinds": ["joined"]}, "no effect where student.augmentation.copies is 0"),
        ({f"{DISTILLATION}.hidden.layers": "last"}, f"no effect where {DISTILLATION}.hidden.weight is 0"),
        ({f"{DISTILLATION}.attention.layers": [1]}, f"no effect where {DISTILLATION}.attention.weight is 0"),
        ({f"{DISTILLATION}.relations.layer": 2}, f"no effect where {DISTILLATION}.relations.weight is 0"),
        ({f"{DISTILLATION}.relations.heads": 2}, f"no effect where {DISTILLATION}.relations.weight is 0"),
        (
            {"task": "translation", "data.source": "rows.jsonl", f"{DISTILLATION}.sequences.beams": 2},
            f"no effect where {DISTILLATION}.sequences.enabled is false",
        ),
        (
            {**VECTORS, f"{DISTILLATION}.vectors.similarities": 0, f"{DISTILLATION}.vectors.temperature": 1},
            f"no effect where {DISTILLATION}.vectors.similarities is 0",
        ),
        (
            {**RANKING, f"{DISTILLATION}.temperature": 3},
            f"{DISTILLATION}.temperature is for {DISTILLATION}.ranking: lists, and it is margins; leave it out",
        ),
        (
            {**RANKING, f"{DISTILLATION}.ranking": "distances", f"{DISTILLATION}.final_temperature": 3},
            f"{DISTILLATION}.final_temperature is for {DISTILLATION}.ranking: lists, and it is distances",
        ),
        (
            {"data.source": "rows.jsonl", **{f"data.{split}": "a.csv" for split in ("train", "validation", "test")}},
            "source: rows.jsonl is not read where train, validation and test are; leave one out",
        ),
        ({"teacher.vocabulary.tokens": 9000}, "no effect where teacher.vocabulary.trim is false; leave it out, or set"),
        ({"data.configuration": "de"}, "configuration is of a data set on the hub; name it in source, or leave"),
        ({"data.language_codes": {"de": "deu_Latn"}}, "data.language_codes is for translation"),
        ({"generation.beams": 4}, "generation is for translation, the task is text-classification; leave it out"),
    ],
)
def test_what_has_no_effect_is_refused_in_a_line(fields: dict[str, object], message: str):
    with pytest.raises(CompressError) as refused:
        load_recipe(None, fields)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "fields",
    [
        {**RANKING, "data.negatives.by": "words", "data.negatives.per_query": 2},
        {**RANKING, f"{DISTILLATION}.ranking": "lists", f"{DISTILLATION}.temperature": 3},
        {"student.augmentation.copies": 1, "student.augmentation.kinds": ["joined"]},
        {"bench.load.bound_ms": 20, "export.budget.rows": 100, "export.tensorrt.precisions": ["fp32"]},
    ],
)
def test_what_has_one_or_what_a_later_command_may_switch_on_is_taken(fields: dict[str, object]):
    assert load_recipe(None, fields).task
