"""Run directories: what their stages left, read again to make a bundle, and the teacher's outputs that runs share."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from attempts import Spoil, Surface, Wants, WrongAnswer
from material import Material
from mutations import DEEP, REPLACEMENTS, altered_file

from compress.data.stage import load_data
from compress.runs.directory import find_run
from compress.serving.format import read_bundle_manifest
from compress.teacher.outputs import run_cache_stage
from export.bundle.stage import Wanted, run_bundle_stage

INDEX, SHARD = "index.json", "shard-00000.safetensors"


def ask(folder: Path, material: Material) -> None:
    """Pack the run's variant and read the teacher's outputs, and compare both with the unaltered run's."""
    run = find_run(folder / "runs/tiny", folder / "runs")
    load_data(run)
    run_cache_stage(run)
    run_bundle_stage(run, Wanted(accepted=("onnx",)), None)
    found, wanted = (read_bundle_manifest(path) for path in (run.folder / "bundle", material.bundle))
    if {file.path: file.sha256 for file in found.files} != {file.path: file.sha256 for file in wanted.files}:
        raise WrongAnswer("another bundle is packed")
    (shard,) = (folder / "runs/.cache").rglob(SHARD)
    if shard.read_bytes() != next(material.cache.rglob(SHARD)).read_bytes():
        raise WrongAnswer("other outputs of the teacher are used")


def copy_of(material: Material, folder: Path) -> Path:
    """The run up to its variant, whose outputs of the teacher are to be looked up again."""
    shutil.copytree(material.cache, folder / "runs/.cache")
    run = folder / "runs/tiny"
    shutil.copytree(material.run, run, ignore=shutil.ignore_patterns("bundle", "cache", ".work", "logs"))
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    for stage in ("bundle", "cache"):
        del manifest["stages"][stage]
    (run / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return run


def draw(random_: random.Random, folder: Path, material: Material) -> str:
    """One file altered, the manifest and the index more often than others."""
    run = copy_of(material, folder)
    cached = sorted(path for path in (folder / "runs/.cache").rglob("*") if path.suffix in (".json", ".safetensors"))
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    often = [run / "manifest.json", run / "data/labels.json", run / "recipe.yaml", *cached]
    return altered_file(random_, random_.choice([*files, *often * 3]))


NOT_ITS_OWN = ("", "[]", "null", "{}", "{", '"x"', "1", DEEP, '{"schema": 2}', '{"schema": 3, "run": 1, "stages": []}')


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], object]) -> Spoil:
        return lambda folder: alter(copy_of(material, folder)) and None

    def index_of(run: Path) -> Path:
        return next((run.parent / ".cache").rglob(INDEX))

    def written(name: str, text: str) -> Spoil:
        return case(lambda run: (index_of(run) if name == INDEX else run / name).write_text(text, "utf-8"))

    def shard_elsewhere(run: Path) -> None:
        index = json.loads(index_of(run).read_text("utf-8"))
        index["shards"][0]["file"] = "../../tiny/student/model.safetensors"
        index_of(run).write_text(json.dumps(index), "utf-8")

    cases: dict[str, tuple[Spoil, Wants]] = {"unaltered": (case(lambda run: None), "accepted")}
    for name, wants in (("manifest.json", "refused"), ("data/labels.json", "refused"), (INDEX, "accepted")):
        cases |= {f"{name} is {text!r:.40}": (written(name, text), wants) for text in NOT_ITS_OWN}
    for name in ("manifest.json", "data/labels.json", "data/test.jsonl", "onnx/model.onnx"):
        cases |= {
            f"in place of {name}: {words}": (case(lambda run, name=name, put=put: put(run / name)), "refused")
            for words, put in REPLACEMENTS.items()
        }
    cases["a shard elsewhere"] = (case(shard_elsewhere), "accepted")
    return Surface(
        "runs",
        lambda folder: ask(folder, material),
        cases,
        lambda random_, folder: draw(random_, folder, material),
        draws=400,
        places=("data.", "teacher.", "onnx: stage "),
    )
