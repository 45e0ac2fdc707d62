"""What a bundle holds, what is refused, and the commands as a user gives them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import openvino
import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from compress.errors import CompressError
from compress.recipe.file import load_recipe
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.runs.files import file_sha256
from compress.serving.format import read_bundle_manifest
from export.bundle.choice import choose_variants
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.summary import BUNDLE
from export.bundle.trust.archive import pack
from export.stage import run_export_stages


def test_every_model_has_its_place_in_a_model_repository(bundle: Path):
    folders = {model.name: model.folder for model in read_bundle_manifest(bundle).models}
    assert folders == {
        "onnx": "models/cpu/onnx/1",
        "onnx-int8": "models/cpu/onnx-int8/1",
        "openvino-int8": "models/openvino/openvino-int8/1",
        "tensorrt-fp16": "models/tensorrt-rtx/tensorrt-fp16/1",
        "onnx-fp16": "models/cuda/onnx-fp16/1",  # what the engine is built from
    }
    needed = {model.name: model.needs and model.needs.oldest for model in read_bundle_manifest(bundle).models}
    runtimes = {"onnx": "1.17", "onnx-int8": "1.23", "onnx-fp16": "1.17"}
    assert needed == {name: runtimes.get(name) for name in folders}
    for folder in folders.values():
        names = {path.name for path in (bundle / folder).iterdir()}
        assert {"compress.json", "config.json", "tokenizer.json", "tokenizer_config.json", "model.py"} <= names
    assert (bundle / "models/tensorrt-rtx/tensorrt-fp16/1/student-fp16.engine").stat().st_size > 0
    assert (bundle / "report/report.html").exists()


def test_the_manifest_names_every_file_and_where_it_comes_from(bundle: Path, run: Run):
    manifest = read_bundle_manifest(bundle)
    present = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert {file.path for file in manifest.files} == present - {"manifest.json"}
    assert all(file_sha256(bundle / file.path) == file.sha256 for file in manifest.files)
    assert manifest.parents["onnx-int8"] == run.digest("onnx-int8")
    assert {"data", "teacher", "student", "evaluation", "bench"} <= set(manifest.parents)
    assert {"torch", "onnxruntime", "openvino"} <= set(manifest.versions)


def test_what_the_command_sets_is_the_run_s_own_from_then_on(bundle: Path, run: Run):
    assert run.overrides == {"bundle.license": "Apache-2.0", "bundle.data_license": "CC-BY-4.0"}
    assert load_recipe(run.folder / "recipe.yaml").bundle == run.recipe.bundle
    assert run.summary(BUNDLE).digest == read_bundle_manifest(bundle).digest


def test_nothing_names_the_machine_that_packed_it(bundle: Path, run: Run):
    for path in bundle.rglob("*"):
        for name in (run.as_made.recipe.data.source, str(run.folder.parent)):
            assert not path.is_file() or name.encode() not in path.read_bytes()


def test_the_bundle_tells_what_was_made_whatever_the_recipe_says_by_now(bundle: Path, run: Run):
    made = run.as_made.recipe
    assert made.student.distillation.alpha != run.recipe.student.distillation.alpha == 0.125
    card = (bundle / "README.md").read_text("utf-8")
    assert f"**Data**: {Path(made.data.source).name}; " in card
    assert f"α {made.student.distillation.alpha}, temperature {made.student.distillation.temperature}." in card
    assert '"other.jsonl"' not in (bundle / "bom.cdx.json").read_text("utf-8")
    description = json.loads((bundle / "models/cpu/onnx/1/compress.json").read_text("utf-8"))
    assert description["pairs"] is False
    assert made.data.max_length == run.recipe.data.max_length


def test_the_card_says_what_users_must_know(bundle: Path, report: Report):
    card = (bundle / "README.md").read_text("utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["language"] == ["de", "en", "ja"]
    assert head["license"] == "Apache-2.0"
    assert "Licence: CC-BY-4.0" in card  # the data's
    figure = report.models["onnx-int8"].quality["ja"]["accuracy"]
    assert f"{100 * figure.value:.1f} ({100 * figure.low:.1f}–{100 * figure.high:.1f})" in card
    assert "Known weak languages" in card
    assert "`openvino-int8`, `tensorrt-fp16` would have been refused" in card
    assert re.search(r"`tensorrt-fp16` .* \*\*no\*\*: not compared with .*, and not measured as it is now", card)
    assert "compress export --onnx models/cuda/onnx-fp16/1/model.onnx --trt --precision fp16" in card
    assert "finds the ranges of activations while running" not in card  # no form here looks at the whole batch
    assert "Licence: not given" in card  # the teacher's
    assert "Oldest ONNX Runtime: `onnx` 1.17 (opset 20), `onnx-int8` 1.23 (opset 23), `onnx-fp16` 1.17" in card


def test_the_card_names_a_form_whose_answers_depend_on_the_batch(run: Run, tmp_path: Path):
    recipe = run.recipe.model_copy(
        update={"export": run.recipe.export.model_copy(update={"variants": ["onnx-dynamic"]})}
    )
    this = Run(tmp_path / run.folder.name, recipe)
    shutil.copytree(run.folder, this.folder, ignore=shutil.ignore_patterns("bundle"))
    run_export_stages(this)
    run_bundle_stage(this, Wanted(("onnx-dynamic",), ("onnx-dynamic",)), None)
    card = (this.folder / "bundle/README.md").read_text("utf-8")
    assert "`onnx-dynamic` finds the ranges of activations while running, over all rows of a batch" in card


def test_the_card_s_command_builds_the_same_engine(copied: Path, tmp_path: Path, compress_command):
    card = (copied / "README.md").read_text("utf-8")
    command = re.search(r"^compress (export --onnx .*)$", card, re.MULTILINE)
    assert command
    done = compress_command(*command[1].split(), "--output", tmp_path / "built", cwd=copied)
    assert done.returncode == 0, done.stderr
    (engine,) = (tmp_path / "built").rglob("*.engine")
    packed = copied / "models/tensorrt-rtx/tensorrt-fp16/1/student-fp16.engine"
    assert file_sha256(engine) == file_sha256(packed)


def test_the_bill_of_materials_is_valid_cyclonedx(bundle: Path, run: Run):
    text = (bundle / "bom.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    content = json.loads(text)
    assert content["metadata"]["component"]["licenses"][0]["license"]["id"] == "Apache-2.0"
    components = {component["name"]: component for component in content["components"]}
    assert components["torch"]["purl"].startswith("pkg:pypi/torch@")
    model = components["models/cpu/onnx-int8/1/model.onnx"]
    assert model["hashes"][0]["content"] == file_sha256(bundle / model["name"])
    assert components[Path(run.as_made.recipe.data.source).name]["licenses"][0]["license"]["id"] == "CC-BY-4.0"


def test_other_readers_load_the_folder(bundle: Path):
    for name in ("cpu/onnx/1/model.onnx", "openvino/openvino-int8/1/openvino_model.xml"):
        model = openvino.Core().read_model(bundle / "models" / name)
        assert {value.any_name for value in model.inputs} == {"input_ids", "attention_mask"}


def test_the_same_run_gives_the_same_bytes(bundle: Path, run: Run, report: Report, tmp_path: Path):
    again = Run(tmp_path / run.folder.name, run.recipe)
    shutil.copytree(run.folder, again.folder, ignore=shutil.ignore_patterns("bundle"))
    run_bundle_stage(again, Wanted(("onnx", "onnx-int8"), ("openvino-int8", "tensorrt-fp16")), report)
    assert read_bundle_manifest(again.folder / "bundle").digest == read_bundle_manifest(bundle).digest
    for number, folder in enumerate((bundle, again.folder / "bundle")):
        pack(folder, tmp_path / f"{number}.tar.zst")
    assert file_sha256(tmp_path / "0.tar.zst") == file_sha256(tmp_path / "1.tar.zst")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tensorrt-fp16", "tensorrt-fp16: not compared with its parent, which needs its GPU, and not measured"),
        ("openvino-int8", "openvino-int8: not measured as it is now; run `compress export` and `compress bench`"),
        ("onnx-int4", "--variant onnx-int4: .* has no such variant; it has onnx,"),
        ("student", "has no such variant"),
    ],
)
def test_what_was_not_checked_is_refused(run: Run, report: Report, name: str, reason: str):
    with pytest.raises(CompressError, match=reason):
        choose_variants(run, report, [name], [])


def test_what_was_made_anew_since_it_was_measured_is_refused(run: Run, report: Report, tmp_path: Path):
    again = Run(tmp_path / "run", run.recipe)
    shutil.copytree(run.folder, again.folder)
    manifest = json.loads((again.folder / "manifest.json").read_text("utf-8"))
    manifest["stages"]["onnx-int8"]["digest"] = "0" * 32
    (again.folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CompressError, match=r"onnx-int8: not measured as it is now; .*--accept onnx-int8"):
        choose_variants(again, report, ["onnx-int8"], [])


def test_without_a_name_the_fastest_for_this_machine_is_packed(run: Run, report: Report):
    (chosen,) = choose_variants(run, report, [], [])
    times = {name: model.latency["1"].p50_ms for name, model in report.models.items()}
    own = {name: times[name] for name in ("onnx", "onnx-fused", "onnx-int8") if name in times}
    assert chosen.name == min(own, key=lambda name: own[name])
    with pytest.raises(CompressError, match="nothing was measured yet; run `compress bench` first"):
        choose_variants(run, None, [], [])


def test_bundle_and_verify_as_a_user_gives_them(finished_run: Path, tmp_path: Path, compress_command):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    refused = compress_command("bundle", run, "--variant", "tensorrt-fp16")
    assert refused.returncode == 2
    assert refused.stderr.strip().count("\n") == 0
    assert not (run / "bundle").exists()
    done = compress_command("bundle", run, "--variant", "onnx-int8", "--archive", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["models"] == {"onnx-int8": made["models"]["onnx-int8"]}
    checked = compress_command("verify", made["archive"], "--json", "--unpack", tmp_path / "served/bundle")
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert (list(found), found["verdict"]) == (["bundle", "verdict", "checks"], "pass")
    assert all(list(check) == ["what", "passed", "found"] for check in found["checks"])
    with (tmp_path / "served/bundle/models/cpu/onnx-int8/1/config.json").open("a") as file:
        file.write(" ")
    checked = compress_command("verify", tmp_path / "served/bundle")
    assert checked.returncode == 1
    assert "config.json was altered" in checked.stdout
    assert compress_command("verify", tmp_path / "nothing").returncode == 2
