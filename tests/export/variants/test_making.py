"""The one way of making variants: what is planned, for which target, and that everybody goes it."""

from pathlib import Path

import pytest

from compress.data.stage import load_data
from compress.recipe.export import Export
from compress.runs.directory import find_run
from compress.targets import TARGETS, resolve_target
from compress.variants.registry import VARIANTS
from export.search.report import Candidate
from export.search.trials import TrialRunner
from export.variants.making import ingredients_of, make, place_of, planned_variants, target_for
from export.variants.sample import draw_sample

CPU, GPU = TARGETS["cpu-avx2"], TARGETS["cuda-sm89"]
FP16_ENGINE = {"tensorrt": {"enabled": True}}
INT8_ENGINE = {"tensorrt": {"enabled": True, "precisions": ["int8"]}}


@pytest.mark.parametrize(
    ("settings", "target", "expected"),
    [
        ({}, CPU, ["onnx", "onnx-fused", "onnx-int8", "onnx-static"]),
        ({}, GPU, ["onnx", "onnx-static-gpu", "onnx-fp16"]),
        ({"variants": []}, CPU, ["onnx"]),
        ({"variants": ["onnx-int4"]}, CPU, ["onnx", "onnx-fused", "onnx-int4"]),
        ({"variants": ["onnx-int4"]}, GPU, ["onnx", "onnx-int4"]),
        ({"variants": ["openvino-int8"]}, GPU, ["onnx", "onnx-fused", "openvino-int8"]),
        ({"variants": ["onnx-int4"]} | FP16_ENGINE, GPU, ["onnx", "onnx-fp16", "onnx-int4"]),
        ({"variants": []} | INT8_ENGINE, CPU, ["onnx", "onnx-static-gpu"]),
        (
            {"variants": ["onnx-static"]} | INT8_ENGINE,
            CPU,
            ["onnx", "onnx-fused", "onnx-static", "onnx-static-gpu"],
        ),
        ({"variants": ["onnx-static"]}, GPU, ["onnx", "onnx-fused", "onnx-static"]),
        ({"variants": ["onnx-static"]}, CPU, ["onnx", "onnx-fused", "onnx-static"]),
    ],
)  # fmt: skip
def test_what_is_made_follows_from_recipe_and_target(settings: dict, target, expected: list[str]):
    assert [variant.name for variant in planned_variants(Export(**settings), target)] == expected


def test_what_runs_on_one_kind_of_processor_is_made_for_it():
    static, for_gpus, openvino, fp16 = (
        VARIANTS[name] for name in ("onnx-static", "onnx-static-gpu", "openvino-int8", "onnx-fp16")
    )
    assert target_for(static, CPU) is CPU
    assert target_for(static, GPU) == target_for(openvino, GPU) == resolve_target("auto")
    assert target_for(for_gpus, CPU).is_gpu
    assert target_for(for_gpus, GPU) is GPU
    assert target_for(fp16, CPU).is_gpu
    assert target_for(VARIANTS["onnx-int8"], GPU) is GPU


@pytest.mark.parametrize(
    ("name", "target", "place"),
    [
        ("onnx", CPU, "any"),
        ("onnx-fused", CPU, "cpu"),
        ("onnx-int4", GPU, "cpu"),
        ("onnx-fp16", CPU, "cuda"),
        ("onnx-int8", CPU, "cpu-avx2"),
        ("onnx-int8", GPU, "cuda-sm89"),
        ("onnx-static", CPU, "cpu-avx2"),
        ("onnx-static-gpu", GPU, "cuda"),
        ("onnx-int8", TARGETS["cpu-amx"], "cpu-vnni"),
        ("openvino-bf16", TARGETS["cpu-amx"], "cpu-amx"),
        ("openvino-int8", CPU, "cpu-avx2"),
    ],
)
def test_a_summary_says_what_a_variant_is_for(name: str, target, place: str):
    assert place_of(VARIANTS[name], target) == place


def test_the_search_makes_what_the_export_makes(finished_run: Path, tmp_path: Path):
    run = find_run(finished_run, finished_run.parent)
    data, target = load_data(run), resolve_target(run.recipe.export.target)
    ingredients = ingredients_of(run, data, target)
    runner = TrialRunner(run, ingredients, draw_sample(run, data, 10), tmp_path / "trials")
    for name in ("onnx-fused", "onnx-int8"):  # the run has them
        (tmp_path / name).mkdir()
        made = runner.make(Candidate(variant=name), tmp_path / name)
        assert made.form == name
        assert_same_files(tmp_path / name, finished_run / name)
    for name in ("onnx-static", "onnx-int4"):
        folders = tmp_path / f"{name}-exported", tmp_path / f"{name}-tried"
        for folder in folders:
            folder.mkdir()
        exported = make(VARIANTS[name], ingredients, folders[0])
        assert runner.make(Candidate(variant=name), folders[1]) == exported
        assert_same_files(*folders)


def assert_same_files(one: Path, other: Path) -> None:
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    for path in one.iterdir():
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name
