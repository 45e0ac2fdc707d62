"""The bundle stage: the chosen variants with all that a serving team needs to load, check and trust them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from compress.console import say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet, load_data
from compress.errors import CompressError
from compress.models.load import load_tokenizer
from compress.recipe.export import Tolerance
from compress.runs.directory import Run
from compress.runs.files import file_sha256, role_of, write_json
from compress.runs.stages import run_stage
from compress.serving.client import open_model
from compress.serving.format import (
    CARD,
    DESCRIPTION,
    MANIFEST,
    BundleFile,
    BundleModel,
    BundleParity,
    Description,
    Manifest,
    read_manifest,
)
from compress.tasks.rows import Row
from export.bundle.choice import PackedVariant, Report, choose_variants
from export.bundle.contents.bom import materials_of, write_bom
from export.bundle.contents.canary import record_canary
from export.bundle.contents.card import write_card
from export.bundle.contents.client import write_example
from export.bundle.contents.text_input import add_text_model, text_operators, tokenizer_parts
from export.bundle.triton.repository import write_serving, write_text_serving
from export.bundle.trust.signature import sign
from export.onnx.graphs import graph_bytes

_CANARY_ROWS = 32
_NOT_SERVED = ("search.json",)


@dataclass(frozen=True)
class Wanted:
    """What the user asks for.

    ``variants`` and ``accepted`` are names (`export.bundle.choice`); ``text_input`` adds graphs that read text;
    ``key`` and ``certificates`` sign (`export.bundle.trust.signature`).
    """

    variants: Sequence[str] = ()
    accepted: Sequence[str] = ()
    text_input: bool = False
    key: Path | None = None
    certificates: Sequence[Path] = ()


def run_bundle_stage(run: Run, wanted: Wanted, report: Report | None) -> dict[str, Any]:
    """Fill ``bundle/``.

    :param report: Of the run's bench stage, if it has been run.
    :return: The stage's summary: models and bytes.
    :raises CompressError: If a variant may not be packed, or cannot be with what is asked for.
    """
    chosen = choose_variants(run, report, wanted.variants, wanted.accepted)
    if wanted.text_input:
        _check_text_input(run, chosen)
    inputs = {
        "variants": [[variant.name, variant.refused] for variant in chosen],
        "text input": wanted.text_input,
        **run.recipe.bundle.model_dump(),
        **run.tokenisation,
        "generation": run.recipe.generation.model_dump(),
        "signed": bool(wanted.key),
    }
    parents = ["data", "evaluation", "student", *(variant.name for variant in chosen)]
    parents += ["bench"] if report else []

    def build(folder: Path, _: Path) -> dict[str, Any]:
        manifest = _build(run, chosen, wanted, report, folder)
        if wanted.key:
            sign(folder, wanted.key, wanted.certificates)
        return {
            "models": {model.name: model.target for model in manifest.models},
            "bytes": sum(file.bytes for file in manifest.files),
            "digest": manifest.digest,
            "signed": bool(wanted.key),
        }

    return run_stage(run, "bundle", inputs, tuple(parents), build, always=bool(wanted.key))


def bundle_table(folder: Path) -> Table:
    """One row a model: what it is for, and what was checked."""
    table = Table(title="Models of the bundle")
    for heading in ("model", "runtime", "target", "reads", "MB", "measured", "compared", "folder"):
        table.add_column(heading, justify="right" if heading == "MB" else "left")
    for model in read_manifest(folder).models:
        table.add_row(
            model.name,
            model.runtime,
            model.target,
            model.reads,
            f"{model.bytes / 1e6:.2f}",
            "yes" if model.measured else "no",
            "yes" if model.parity or model.reads == "text" else "no",
            model.folder,
        )
    return table


def _build(run: Run, chosen: Sequence[PackedVariant], wanted: Wanted, report: Report | None, folder: Path) -> Manifest:
    data = load_data(run)
    rows = _canary_rows(run, data)
    models = []
    for variant in chosen:
        say(f"bundle: {variant.name}")
        models.append(_add_variant(run, data, variant, report, rows, folder))
        if wanted.text_input and variant.repository == "cpu":
            models.append(_add_text_variant(run, data, models[-1], report, rows, folder))
    if report:
        shutil.copytree(run.path_of("bench"), folder / "report")
    record_canary(folder, models, rows)
    example = write_example(run.task, run.recipe.task, models, folder)
    write_card(run, models, report, rows, example, folder / CARD)
    return _seal(run, models, folder, report is not None)


def _add_variant(
    run: Run, data: DataSet, variant: PackedVariant, report: Report | None, rows: Sequence[Row], folder: Path
) -> BundleModel:
    """Copy a variant's files, and write what clients and Triton must know."""
    version = folder / variant.folder
    version.mkdir(parents=True)
    source = run.path_of(variant.name)
    companions = source if (source / "config.json").exists() else run.path_of("student")
    for path in (*variant.files(source), *_companions(companions)):
        shutil.copy(path, version / path.name)
    model = _described(run, variant)
    _write_description(run, data, model, version)
    encode = run.task.encoder(load_tokenizer(str(version)), run.recipe.data, data.labels)
    write_serving(run.task, data.labels, model, report, version, rows[0], encode(rows[:1])[0])
    return model


def _add_text_variant(
    run: Run, data: DataSet, source: BundleModel, report: Report | None, rows: Sequence[Row], folder: Path
) -> BundleModel:
    """The same variant with its tokenizer inside."""
    name = f"{source.name}-text"
    model = source.model_copy(
        update={
            "name": name,
            "folder": source.folder.replace(f"/{source.name}/", f"/{name}/"),
            "reads": "text",
            "parent": source.name,
        }
    )
    say(f"bundle: {name}: comparing tokens")
    version = folder / model.folder
    version.mkdir(parents=True)
    everything = [row for split in data.splits.values() for row in split]
    add_text_model(folder / source.folder, version, data.labels, run.recipe.data.max_length, everything)
    _write_description(run, data, model, version)
    write_text_serving(data.labels, model, source.name, report, version, rows[0])
    _check_answers(folder / source.folder, version, rows)
    return model.model_copy(update={"bytes": graph_bytes(version)})


def _check_answers(source: Path, version: Path, rows: Sequence[Row]) -> None:
    """Whether a graph that reads text says what its parent says of its tokens; one row at a time, as int8 may depend on
    what else is in a batch."""
    one, other = open_model(source), open_model(version)
    for row in rows:
        (wanted,), (found,) = one.predict([row.text]), other.predict([row.text])
        if wanted.prediction != found.prediction:
            raise CompressError(
                f"--text-input: {version.parent.name} says {found.prediction!r} of {row.text!r:.60}, its parent "
                f"{wanted.prediction!r}; leave it out"
            )


def _described(run: Run, variant: PackedVariant) -> BundleModel:
    parity = variant.summary.get("parity")
    return BundleModel(
        name=variant.name,
        folder=variant.folder,
        runtime=variant.runtime,
        target=variant.target,
        bytes=variant.summary["bytes"],
        parent=variant.summary["parent"],
        measured=variant.measured,
        parity=BundleParity(**parity) if parity else None,
        accepted=variant.refused,
        tolerance=_tolerance(run, variant.name),
        versions=run.manifest["stages"][variant.name]["versions"],
    )


def _tolerance(run: Run, name: str) -> Tolerance:
    """That of the variant's kind."""
    limits = run.recipe.export.parity
    by_kind = {"onnx": limits.onnx, "fused": limits.onnx, "fp16": limits.fp16, "fp32": limits.fp16, "int4": limits.int4}
    return by_kind.get(name.rpartition("-")[2], limits.int8)


def _write_description(run: Run, data: DataSet, model: BundleModel, version: Path) -> None:
    recipe = run.recipe
    description = Description(
        name=model.name,
        task=recipe.task,
        labels=data.labels,
        runtime=model.runtime,
        target=model.target,
        reads=model.reads,
        pairs=bool(recipe.data.fields.text_pair) or "text_pair" in run.task.FIELDS,
        max_length=recipe.data.max_length,
        language_codes=recipe.data.language_codes,
        prefix=recipe.data.prefix,
        beams=recipe.generation.beams,
        length_penalty=recipe.generation.length_penalty,
    )
    write_json(version / DESCRIPTION, description.model_dump(mode="json", by_alias=True))


def _seal(run: Run, models: Sequence[BundleModel], folder: Path, measured: bool) -> Manifest:
    """Write the bill of materials and the manifest, the last of the files."""
    stages = run.manifest["stages"]
    recipe = run.recipe
    made_from = ("data", "teacher", "student", "evaluation", *_sources(models))
    parents = {name: run.digest(name) for name in (*made_from, *(["bench"] if measured else []))}
    versions = {name: value for model in models for name, value in model.versions.items()}
    made = max(datetime.fromisoformat(stages[name]["finished"]) for name in parents)
    files = [_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
    bom = folder / "bom.cdx.json"
    write_bom(bom, recipe.name, made, files, materials_of(recipe), versions)
    manifest = Manifest(
        run=recipe.name,
        task=recipe.task,
        parents=parents,
        versions=versions,
        models=list(models),
        files=[*files, _file(folder, bom)],
    ).sealed()
    (folder / MANIFEST).write_text(manifest.as_text(), "utf-8")
    return manifest


def _sources(models: Sequence[BundleModel]) -> list[str]:
    return [model.name for model in models if model.reads == "tokens"]


def _file(folder: Path, path: Path) -> BundleFile:
    name, size = path.relative_to(folder).as_posix(), path.stat().st_size
    return BundleFile(path=name, role=role_of(path), sha256=file_sha256(path), bytes=size)


def _companions(source: Path) -> list[Path]:
    """Configuration and tokenizer."""
    kinds = ("*.json", "*.txt", "*.model", "*.jinja")
    found = [path for kind in kinds for path in source.glob(kind)]
    return [path for path in found if path.name not in _NOT_SERVED]


def _canary_rows(run: Run, data: DataSet) -> list[Row]:
    """Test rows, of every language one at least."""
    rows = data.splits["test"]
    count = max(_CANARY_ROWS, len(data.languages))
    return list(rows.select(spread_over_languages(rows.column("lang"), count, run.recipe.seed)))


def _check_text_input(run: Run, chosen: Sequence[PackedVariant]) -> None:
    """What cannot be done is said before any work is."""
    if not run.task.SINGLE_LABEL or run.recipe.data.fields.text_pair:
        raise CompressError("--text-input is for classes of single texts; leave it out")
    if not any(variant.repository == "cpu" for variant in chosen):
        names = ", ".join(variant.name for variant in chosen)
        raise CompressError(f"--text-input is for ONNX Runtime on the CPU, not for {names}; add such a --variant")
    tokenizer_parts(load_tokenizer(str(run.path_of("student"))), run.recipe.data.max_length)
    text_operators()
