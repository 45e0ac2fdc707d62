"""Which variants may be packed, by a manifest and a report written here."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from small_reports import small_model, small_report

from compress.errors import CompressError
from compress.recipe.file import save_recipe
from compress.recipe.recipe import Recipe
from compress.reports.bench import Report
from compress.runs.directory import Run, find_run
from compress.runs.files import write_json
from compress.runs.manifest import FileEntry, RunManifest, StageEntry
from export.bundle.choice import choose_variants
from export.bundle.packing import _described
from export.bundle.stage import Wanted, run_bundle_stage
from export.variants.summary import Parity, VariantSummary

LIMITS = Recipe().export.parity
PARITY = Parity(rows=10, max_difference=0.1, mean_difference=0.01, agreement=1.0)
SUMMARIES = {
    "onnx": VariantSummary(form="onnx", parent="student", tolerance=LIMITS.onnx, bytes=4, parity=PARITY),
    "onnx-int8": VariantSummary(
        form="onnx-int8", parent="onnx", tolerance=LIMITS.int8, bytes=1, parity=PARITY, target="cpu-vnni"
    ),
    "onnx-fp16": VariantSummary(form="onnx-fp16", parent="onnx", tolerance=LIMITS.fp16, bytes=2, target="cuda"),
    "openvino-int8": VariantSummary(
        form="openvino-int8", parent="onnx", tolerance=LIMITS.int8, bytes=1, parity=PARITY, target="cpu-vnni"
    ),
}
CHOSEN = VariantSummary(
    form="onnx-fused", parent="onnx", tolerance=LIMITS.onnx, bytes=3, parity=PARITY, target="cpu-vnni"
)


def entry(parents: dict[str, str], summary: VariantSummary | None = None, graph: Path | None = None) -> StageEntry:
    """A finished stage, with one empty file at most."""
    files = [] if graph is None else [FileEntry(path=str(graph), role="model", sha256=sha256().hexdigest(), bytes=0)]
    return StageEntry(
        key="k",
        inputs={"max_length": 64},
        digest="d",
        parents=parents,
        finished="2026-01-01T00:00:00+00:00",
        seconds=0,
        versions={},
        summary=summary.model_dump(mode="json") if summary else {},
        files=files,
    )


def made(folder: Path, summaries: dict[str, VariantSummary], **overrides: object) -> Run:
    """A run with a student and variants, all of which were measured."""
    stages = {"student": entry({})}
    for name, summary in summaries.items():
        graph = Path(name) / ("openvino_model.xml" if "openvino" in name else "model.onnx")
        (folder / name).mkdir(parents=True)
        (folder / graph).touch()
        stages[name] = entry({summary.parent: "d"}, summary, graph)
    stages["bench"] = entry(dict.fromkeys(summaries, "d"))
    for name in ("student", "bench"):
        (folder / name).mkdir()
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


def test_a_report_from_before_the_search_is_no_evidence(tmp_path: Path):
    run = made(tmp_path / "run", {**SUMMARIES, "onnx-chosen": CHOSEN})
    with pytest.raises(CompressError, match=r"onnx-chosen, which the search chose, was not measured as it is now; run"):
        choose_variants(run, report(onnx=3.0, onnx_int8=2.0), [], [])
    (chosen,) = choose_variants(run, report(onnx=3.0, onnx_int8=2.0), ["onnx-int8"], [])
    assert chosen.name == "onnx-int8"


def test_what_was_made_after_the_measurement_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = made(tmp_path / "run", SUMMARIES)
    choose_variants(run, report(onnx=3.0, onnx_int8=2.0, onnx_fp16=9.0), [], [])
    assert "bundle: openvino-int8: not measured, and so not chosen; `compress bench` measures it" in (
        capsys.readouterr().err
    )


def test_the_fastest_is_that_with_the_smallest_batch(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES)
    times = {"onnx": {"8": 2.0, "1": 1.0}, "onnx-int8": {"8": 1.0, "1": 9.0}}
    measured = small_report(*((name, small_model(name, found)) for name, found in times.items()))
    assert [variant.name for variant in choose_variants(run, measured, [], [])] == ["onnx"]


def test_a_variant_has_the_limits_that_it_was_accepted_by_whatever_the_recipe_says_now(tmp_path: Path):
    looser = {"export.parity.int8": {"max_difference": 99.0, "agreement": 0.0}}
    run = made(tmp_path / "run", SUMMARIES, **looser)
    wanted = {"onnx": LIMITS.onnx, "onnx-int8": LIMITS.int8, "onnx-fp16": LIMITS.fp16, "openvino-int8": LIMITS.int8}
    chosen = choose_variants(run, None, [], list(wanted))
    assert {variant.name: _described(run, variant, None).tolerance for variant in chosen} == wanted


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


def test_what_reads_otherwise_than_the_recipe_says_is_refused(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES, **{"data.max_length": 16})
    with pytest.raises(CompressError, match="was made with max_length 64, the recipe says 16; `compress export` makes"):
        choose_variants(run, report(onnx_int8=1.0), ["onnx-int8"], [])


def test_a_graph_that_was_altered_is_not_packed(tmp_path: Path):
    run = made(tmp_path / "run", SUMMARIES)
    (run.folder / "onnx-int8/model.onnx").write_bytes(b"another")
    with pytest.raises(CompressError, match=r"onnx-int8/model\.onnx was altered after the stage was finished; run"):
        choose_variants(run, report(onnx_int8=1.0), ["onnx-int8"], [])
