"""A certificate in a bundle is held against its models and its canary rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.certify.stage import Signer, run_certify_stage
from bench.gate.judgement import Limits
from compress.reports.bench import Report
from compress.runs.directory import Run, find_run
from compress.runs.files import file_sha256
from compress.serving.format import read_bundle_manifest
from export.bundle.stage import Wanted, run_bundle_stage
from export.bundle.trust.verify import verify


@pytest.fixture(scope="module")
def certified(run: Run, report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a certificate."""
    folder = Path(shutil.copytree(run.folder, tmp_path_factory.mktemp("certified") / "tiny"))
    this = find_run(folder, folder.parent)
    run_certify_stage(this, Limits())
    run_bundle_stage(this, Wanted(("onnx-int8",)), report)
    return folder / "bundle"


def resealed(bundle: Path) -> Path:
    """With the hashes of the files that it has now."""
    manifest = read_bundle_manifest(bundle)
    files = [
        file.model_copy(
            update={"sha256": file_sha256(bundle / file.path), "bytes": (bundle / file.path).stat().st_size}
        )
        for file in manifest.files
    ]
    (bundle / "manifest.json").write_text(manifest.model_copy(update={"files": files}).sealed().as_text(), "utf-8")
    return bundle


def test_a_bundle_carries_the_certificate_of_its_run(certified: Path):
    found = verify(certified)
    assert found.passed
    told = {check.what: check for check in found.checks}
    assert told["the certificate is of onnx-int8"].passed
    assert "0 of " in told["the certificate is of onnx-int8"].found
    card = (certified / "README.md").read_text("utf-8")
    assert "What is certified" in card
    assert "labels in a language (recall and F1)" in card


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda variant: [cell.update(right=cell["wanted"]) for cell in variant["cells"]], "canary rows speak against"),
        (lambda variant: variant.update(digest="0" * 32), "it is of another onnx-int8 than was packed"),
        (lambda variant: variant.update(cells="all"), "not a certificate"),
    ],
)
def test_what_is_not_of_its_models_is_found(certified: Path, change, reason: str, tmp_path: Path):
    bundle = Path(shutil.copytree(certified, tmp_path / "bundle"))
    content = json.loads((bundle / "certificate.json").read_text("utf-8"))
    change(content["variants"]["onnx-int8"])
    (bundle / "certificate.json").write_text(json.dumps(content), "utf-8")
    if reason.startswith("canary"):  # of a model that has all right: one that has all wrong
        said = json.loads((bundle / "canary.json").read_text("utf-8"))
        labels = sorted({row["label"] for row in said["rows"]})
        wrong = [labels[(labels.index(row["label"]) + 1) % len(labels)] for row in said["rows"]]
        said["models"]["onnx-int8"]["predictions"] = wrong
        (bundle / "canary.json").write_text(json.dumps(said), "utf-8")
    found = verify(resealed(bundle))
    assert not found.passed
    assert reason in "; ".join(check.found for check in found.checks if check.passed is False)


def test_a_certificate_by_itself_is_signed_as_bundles_are(certified: Path, tmp_path: Path):
    key, public = ec.generate_private_key(ec.SECP256R1()), tmp_path / "public.pem"
    pem, nothing = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "private.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, nothing))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    folder = Path(shutil.copytree(certified.parent, tmp_path / "tiny"))
    run_certify_stage(find_run(folder, tmp_path), Limits(), Signer(tmp_path / "private.pem"))
    certificate = folder / "certificate"
    assert verify(certificate, key=public).passed
    (certificate / "certificate.md").write_text("all is well", "utf-8")
    assert not verify(certificate, key=public).passed
