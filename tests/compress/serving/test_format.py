"""The bundle's format: what is read, what is refused, and how little it takes to read it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_bundles import bundled

from compress.errors import CompressError
from compress.serving.format import (
    BundleFile,
    Description,
    Manifest,
    read_bundle_manifest,
    read_description,
    refuse_run,
)

NOT_IN_THE_BASE_INSTALL = ("torch", "onnxruntime", "datasets", "sklearn")


def manifest() -> Manifest:
    model = bundled("onnx", "student", target="any")
    file = BundleFile(path="README.md", role="report", sha256="0" * 64, bytes=1)
    made = Manifest(run="tiny", task="translation", parents={}, versions={}, models=[model], files=[file])
    return made.sealed()


@pytest.mark.parametrize("module", ["compress.serving.client", "compress.serving.format", "export.bundle.trust.verify"])
def test_the_base_install_is_enough_to_import_it(module: str):
    code = f"import sys\nfor name in {NOT_IN_THE_BASE_INSTALL}: sys.modules[name] = None\nimport {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_manifest_is_read_as_it_was_sealed(tmp_path: Path):
    (tmp_path / "manifest.json").write_text(manifest().as_text(), "utf-8")
    assert read_bundle_manifest(tmp_path) == manifest()
    (tmp_path / "manifest.json").write_text(manifest().as_text().replace("tiny", "tony"), "utf-8")
    with pytest.raises(CompressError, match="altered after it was written; get the bundle again"):
        read_bundle_manifest(tmp_path)


def test_a_manifest_that_an_earlier_version_sealed_is_unaltered(tmp_path: Path):
    content = json.loads(manifest().as_text())
    del content["models"][0]["needs"]  # which that version did not have
    empty = json.dumps({**content, "digest": ""}, indent=1, ensure_ascii=False) + "\n"
    content["digest"] = hashlib.sha256(empty.encode()).hexdigest()
    written = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (tmp_path / "manifest.json").write_text(written, "utf-8")
    assert read_bundle_manifest(tmp_path).models[0].needs is None
    for other in (written.replace('"run"', ' "run"'), written.replace('"schema": 1,', '"schema": 1, "schema": 1,')):
        (tmp_path / "manifest.json").write_text(other, "utf-8")
        with pytest.raises(CompressError, match="altered after it was written"):
            read_bundle_manifest(tmp_path)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a\\b", "C:/models", "", "a//b"])
def test_paths_stay_inside_of_the_bundle(path: str):
    with pytest.raises(ValueError, match="is not one inside of the bundle"):
        BundleFile(path=path, role="model", sha256="0" * 64, bytes=1)


def test_causes_of_what_cannot_be_read_are_kept(tmp_path: Path):
    cases = [
        (None, "cannot be read", FileNotFoundError),
        ("{", "damaged, not JSON", ValueError),
        ('{"schema": 2}', "schema 2, this version reads 1", type(None)),
        ('{"schema": 1}', "not as it must be: run: Field required", ValueError),
    ]
    for content, reason, cause in cases:
        if content is not None:
            (tmp_path / "manifest.json").write_text(content, "utf-8")
        with pytest.raises(CompressError, match=reason) as caught:
            read_bundle_manifest(tmp_path)
        assert isinstance(caught.value.__cause__, cause)


def test_descriptions_are_of_a_task_that_there_is(tmp_path: Path):
    made = Description(
        name="onnx", task="translation", labels=[], runtime="ONNX Runtime", target="any", pairs=False, max_length=32
    )
    content = made.model_dump(mode="json", by_alias=True)
    (tmp_path / "compress.json").write_text(json.dumps(content), "utf-8")
    assert read_description(tmp_path) == made
    (tmp_path / "compress.json").write_text(json.dumps({**content, "task": "other"}), "utf-8")
    with pytest.raises(CompressError, match=r"compress.json: not as it must be: task: .*'translation'"):
        read_description(tmp_path)


@pytest.mark.parametrize("field", [{"prefix": "{source.__class__}"}, {"prefix": "{target:>999999999}"}])
def test_a_description_fills_in_nothing_but_languages(tmp_path: Path, field: dict):
    about = {"name": "a", "task": "translation", "labels": [], "runtime": "ONNX Runtime", "target": "any"}
    content = {"schema": 1, **about, "pairs": False, "max_length": 16, **field}
    (tmp_path / "compress.json").write_text(json.dumps(content))
    with pytest.raises(CompressError, match=r"prefix: Value error, only \{source\} and \{target\} can be filled in"):
        read_description(tmp_path)


def test_a_run_is_not_taken_for_a_bundle(tmp_path: Path):
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(CompressError, match=r"a run, not a bundle; name .*bundle, which `compress bundle` fills"):
        refuse_run(tmp_path)
