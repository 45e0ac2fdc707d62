"""Which variants may be packed, by a manifest and a report written here."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_reports import small_model, small_report

from compress.errors import CompressError
from compress.recipe.file import save_recipe
from compress.recipe.recipe import Recipe
from compress.reports.bench import Report
from compress.runs.directory import Run, find_run
from compress.runs.files import write_json
from compress.runs.manifest import RunManifest, StageEntry
from compress.variants.registry import VariantName
from export.bundle.choice import choose_variants
from export.bundle.packing import _described
from export.bundle.stage import Wanted, run_bundle_stage
from export.variants.parity import tolerance_for
from export.variants.summary import Parity, VariantSummary

PARITY = Parity(rows=10, max_difference=0.1, mean_difference=0.01, agreement=1.0)
SUMMARIES = {
    "onnx": VariantSummary(form="onnx", parent="student", bytes=4, parity=PARITY),
    "onnx-int8": VariantSummary(form="onnx-int8", parent="onnx", bytes=1, parity=PARITY, target="cpu-vnni"),
    "onnx-fp16": VariantSummary(form="onnx-fp16", parent="onnx", bytes=2, target="cuda"),
    "openvino-int8": VariantSummary(form="openvino-int8", parent="onnx", bytes=1, parity=PARITY, target="cpu-vnni"),
}
CHOSEN = VariantSummary(form="onnx-fused", parent="onnx", bytes=3, parity=PARITY, target="cpu-vnni")


def entry(parents: dict[str, str], summary: VariantSummary | None = None) -> StageEntry:
    return StageEntry(
        key="k",
        digest="d",
        parents=parents,
        finished="2026-01-01T00:00:00+00:00",
        seconds=0,
        versions={},
        summary=summary.model_dump(mode="json") if summary else {},
        files=[],
    )


def made(folder: Path, summaries: dict[str, VariantSummary], **overrides: object) -> Run:
    """A run with a student and variants, all of which were measured."""
    stages = {"student": entry({})}
    stages |= {name: entry({summary.parent: "d"}, summary) for name, summary in summaries.items()}
    stages["bench"] = entry(dict.fromkeys(summaries, "d"))
    for name in stages:
        (folder / name).mkdir(parents=True)
    for name in summaries:
        graph = "openvino_model.xml" if "openvino" in name else "model.onnx"
        (folder / name / graph).touch()
    write_json(folder / "manifest.json", RunManifest(run="demo", stages=stages).model_dump(mode="json", by_alias=True))
    save_recipe(Recipe(), folder / "recipe.yaml")
    return find_run(folder, folder.parent, overrides)


def report(**p50_ms: float) -> Report:
    names = {name.replace("_", "-"): median for name, median in p50_ms.items()}
    return small_report(*((name, small_model(name, {"1": median})) for name, median in names.items()))


def test_the_fastest_that_agrees_and_is_for_this_machine_is_packed(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES)
    measured = report(onnx=3.0, onnx_int8=2.0, onnx_fp16=1.0, openvino_int8=4.0, student=0.1)
    assert [variant.name for variant in choose_variants(run, measured, [], [])] == ["onnx-int8"]
    elsewhere = small_report(
        ("onnx-int8", small_model("onnx-int8", made_for_another_target=True)),
        ("openvino-int8", small_model("openvino-int8")),
        ("onnx", small_model("onnx", origin="/somewhere/onnx")),
    )
    (chosen,) = choose_variants(run, elsewhere, [], [])
    assert (chosen.name, chosen.runtime, chosen.folder) == (
        "openvino-int8",
        "OpenVINO",
        "models/openvino/openvino-int8/1",
    )
    assert chosen.refused is None


def test_what_a_search_has_chosen_comes_first(tmp_path: Path):
    run = made(tmp_path / "run", {**SUMMARIES, "onnx-chosen": CHOSEN})
    (chosen,) = choose_variants(run, report(onnx_int8=1.0, onnx_chosen=5.0), [], [])
    assert (chosen.name, chosen.folder) == ("onnx-chosen", "models/cpu/onnx-chosen/1")


@pytest.mark.parametrize(("form", "limits"), [("onnx-fused", "onnx"), ("onnx-int8", "int8"), ("onnx-static", "int8")])
def test_what_a_search_has_chosen_has_the_limits_of_its_form(tmp_path: Path, form: VariantName, limits: str):
    run = made(tmp_path / "run", {**SUMMARIES, "onnx-chosen": CHOSEN.model_copy(update={"form": form})})
    (chosen,) = choose_variants(run, report(onnx_chosen=1.0), [], [])
    parity = run.recipe.export.parity
    assert tolerance_for(chosen.form, parity) == getattr(parity, limits)
    assert _described(run, chosen).tolerance == getattr(parity, limits)


def test_other_variants_have_the_limits_that_they_were_accepted_by(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES)
    parity = run.recipe.export.parity
    wanted = {"onnx": parity.onnx, "onnx-int8": parity.int8, "onnx-fp16": parity.fp16, "openvino-int8": parity.int8}
    chosen = choose_variants(run, None, [], list(wanted))
    assert {variant.name: _described(run, variant).tolerance for variant in chosen} == wanted


def test_what_could_not_be_compared_is_packed_by_name_alone(tmp_path: Path):
    run, measured = made(tmp_path / "run", SUMMARIES), report(onnx_fp16=1.0)
    with pytest.raises(CompressError, match="onnx-fp16: not compared with its parent, which needs its GPU; run"):
        choose_variants(run, measured, ["onnx-fp16"], [])
    (chosen,) = choose_variants(run, measured, [], ["onnx-fp16"])
    assert chosen.refused == "not compared with its parent, which needs its GPU"
    assert chosen.folder == "models/cuda/onnx-fp16/1"
    with pytest.raises(
        CompressError, match="has no such variant; it has onnx, onnx-int8, onnx-fp16, openvino-int8: run"
    ):
        choose_variants(run, measured, ["student"], [])


def test_a_command_that_is_refused_leaves_the_recipe_as_it_was(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES, **{"bundle.data_license": "CC-BY-4.0"})
    before = (run.folder / "recipe.yaml").read_bytes()
    for wanted in (
        Wanted(("onnx-int4",)),
        Wanted(("onnx-fp16",)),
        Wanted(("onnx-int8",), key=tmp_path / "none.pem"),
        Wanted(("onnx-int8",)),  # the run has no data
    ):
        with pytest.raises(CompressError):
            run_bundle_stage(run, wanted, report(onnx_int8=1.0))
        assert (run.folder / "recipe.yaml").read_bytes() == before
    assert not (run.folder / "bundle").exists()
