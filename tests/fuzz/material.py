"""What is altered: a small whole run and its bundle, signed, made with real code in seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import small_rerankers
import small_sentence_models
import tiny_runs

from compress.data.builtin import cldr

LANGUAGES = ("de", "ja")
KINDS = ("date", "money", "time")
_ROWS = {"train": 90, "validation": 30, "test": 30}


@dataclass(frozen=True)
class Material:
    """Valid inputs, for reading; whoever alters them copies them."""

    root: Path

    @property
    def run(self) -> Path:
        """A run directory with every stage up to its plain ONNX graph, and a bundle."""
        return self.root / "runs" / "tiny"

    @property
    def cache(self) -> Path:
        """The teacher's outputs, which runs share."""
        return self.root / "runs" / ".cache"

    @property
    def model(self) -> Path:
        """A classifier and its tokenizer, as transformers saves them."""
        return self.run / "teacher"

    @property
    def vectors(self) -> Path:
        """A model that gives vectors, as sentence-transformers saves it: prompts, pooling, a layer, length one."""
        return self.root / "vectors"

    @property
    def scores(self) -> Path:
        """A CrossEncoder, as sentence-transformers saves it."""
        return self.root / "scores"

    @property
    def bundle(self) -> Path:
        """A signed bundle."""
        return self.run / "bundle"

    @property
    def served(self) -> Path:
        """The folder of the bundle's model."""
        return self.bundle / "models/cpu/onnx/1"

    def key(self, name: str) -> Path:
        """A key as PEM: `signer-private`, `signer-public`, or somebody else's `other-private`, `other-public`."""
        return self.root / f"{name}.pem"


def make_material(root: Path) -> None:
    """Distil, export and pack a student of a few rows."""
    from compress.data.stage import run_data_stage
    from compress.evaluation.stage import run_evaluation_stage
    from compress.recipe.recipe import Recipe
    from compress.runs.directory import open_run
    from compress.student.stage import run_student_stage
    from compress.teacher.outputs import run_cache_stage
    from compress.teacher.stage import run_teacher_stage
    from export.bundle.stage import Wanted, run_bundle_stage
    from export.stage import run_export_stages

    material = Material(root)
    (root / "data").mkdir()
    for split, rows in cldr.generate(0).items():
        kept = [row for row in rows if row["lang"] in LANGUAGES and row["label"] in KINDS][: _ROWS[split]]
        (root / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    for name in ("signer", "other"):
        _write_keys(material, name)
    small_sentence_models.write_sentence_model(material.vectors, dense=24, prompts=small_sentence_models.PROMPTS)
    small_rerankers.write_cross_encoder(material.scores)
    recipe = tiny_runs.tiny_recipe(root / "data")
    recipe["export"] = {"variants": [], "parity": {"rows": 20}}
    for model in ("teacher", "student"):
        recipe[model]["training"] = {**recipe[model]["training"], "epochs": 1}
    run = open_run(Recipe(**recipe), root / "runs")
    for stage in (run_data_stage, run_teacher_stage, run_cache_stage, run_student_stage, run_evaluation_stage):
        stage(run)
    run_export_stages(run)
    run_bundle_stage(run, Wanted(accepted=("onnx",), key=material.key("signer-private")), None)


def _write_keys(material: Material, name: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    material.key(f"{name}-private").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    material.key(f"{name}-public").write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
