"""The registry of variants: whole, in order, and with somebody who makes each of them."""

from typing import get_args

import pytest

from compress.recipe.export import ParityLimits
from compress.targets import TARGETS
from compress.variants.registry import (
    ENGINES,
    STUDENT_NAME,
    VARIANTS,
    EnginePrecision,
    SelectableName,
    VariantName,
    default_variants,
    variants_table,
    with_parents,
)
from export.variants.making import MAKERS


def names(variants) -> list[str]:
    return [variant.name for variant in variants]


def test_every_name_has_an_entry():
    assert set(VARIANTS) == set(get_args(VariantName))
    assert set(get_args(SelectableName)) < set(VARIANTS)
    assert set(ENGINES) == set(get_args(EnginePrecision))
    assert all(engine.is_engine for engine in ENGINES.values())


def test_parents_come_before_children():
    known = [STUDENT_NAME]
    for name, variant in VARIANTS.items():
        assert variant.parent in known
        assert variant.gpu_parent is None or variant.gpu_parent in known
        known.append(name)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_a_target_is_best_served_with_these(target):
    expected = ["onnx-static-gpu", "onnx-fp16"] if target.is_gpu else ["onnx-fused", "onnx-int8", "onnx-static"]
    expected = ["onnx-int8", "onnx-fp16"] if target.browser else expected
    assert names(default_variants(target)) == expected
    writing = [name for name in expected if name != "onnx-static"]  # ranges of decoders' steps take much memory
    assert names(default_variants(target, writes=True)) == writing


def test_parents_follow_from_names_and_the_target():
    assert names(with_parents(["onnx-int8"])) == ["onnx", "onnx-fused", "onnx-int8"]
    assert names(with_parents(["tensorrt-fp16"])) == ["onnx", "onnx-fp16", "tensorrt-fp16"]
    gpu = TARGETS["cuda-sm89"]
    assert names(with_parents(["onnx-int8"], lambda variant: variant.parent_for(gpu))) == ["onnx", "onnx-int8"]


def test_every_variant_is_made_by_somebody():
    own_stages = {"search", "engine"}
    ways = {(variant.made_by, variant.runtime) for variant in VARIANTS.values() if variant.made_by not in own_stages}
    assert ways == set(MAKERS)


def test_every_variant_has_limits():
    assert {variant.limits for variant in VARIANTS.values()} <= set(ParityLimits.model_fields)


def test_people_can_read_it():
    heading, line, *rows = variants_table()
    assert heading == "| variant | made from | runs on | what for |"
    assert line.count("|") == heading.count("|")
    assert [row.split("`")[1] for row in rows] == list(VARIANTS)
    assert "| `onnx-int8` | `onnx-fused` | CPU |" in "\n".join(rows)
    assert "| `onnx-static-gpu` | `onnx` | GPU |" in "\n".join(rows)
