"""Filling a bundle's folder: the variants, a card, a client, canary rows, a bill of materials, the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compress.console import say
from compress.data.encode import spread_over_languages
from compress.data.stage import DataSet
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.models.describe import thresholds_in
from compress.models.load import load_tokenizer
from compress.models.reranker import activation_in
from compress.models.sentence_folder import MODULES
from compress.models.sentence_layout import module_folders
from compress.reports.bench import Report
from compress.reports.certificate import Certificate, read_certificate
from compress.runs.directory import Run
from compress.runs.files import file_sha256, role_of, write_json
from compress.serving.client import open_model
from compress.serving.format import (
    CARD,
    CERTIFICATE_FILE,
    CERTIFICATE_PAGE,
    DESCRIPTION,
    MANIFEST,
    BundleFile,
    BundleModel,
    BundleParity,
    Manifest,
    NeededRuntime,
    description_of,
)
from compress.student.summary import exported_name, reference_stages
from compress.tasks.rows import Row
from compress.teacher.summary import source_stage
from export.bundle.choice import BENCH, CERTIFICATE, PackedVariant
from export.bundle.contents.bom import Material, materials_of, write_bom
from export.bundle.contents.card import Evidence, write_card
from export.bundle.contents.client import write_client
from export.bundle.contents.text_input import add_text_model
from export.bundle.triton.repository import WarmUpRow, write_serving, write_text_serving
from export.bundle.trust.canary import record_canary
from export.onnx.compatibility import needed_runtime
from export.onnx.graphs import graph_bytes

_CANARY_ROWS = 32
_NOT_SERVED = ("search.json",)


@dataclass(frozen=True)
class Packing:
    """What is packed, and into which folder.

    ``report`` is that of the run's bench stage, if it has been run; ``rows`` are the canary's, the first of which
    models are warmed up with.
    """

    run: Run
    data: DataSet
    report: Report | None
    rows: Sequence[Row]
    folder: Path

    @cached_property
    def certificate(self) -> Certificate | None:
        """Of the run, if it is of what the run has now."""
        certified = self.run.is_current(CERTIFICATE)
        return read_certificate(self.run.path_of(CERTIFICATE) / CERTIFICATE_FILE) if certified else None


def canary_rows(run: Run, data: DataSet) -> list[Row]:
    """Test rows, of every language one at least."""
    rows = data.splits["test"]
    count = max(_CANARY_ROWS, len(data.languages))
    return list(rows.select(spread_over_languages(rows.column("lang"), count, run.recipe.seed)))


def pack_variants(packing: Packing, chosen: Sequence[PackedVariant], *, text_input: bool) -> Manifest:
    """Fill the folder.

    :param text_input: Add graphs that read text, of the variants for CPUs.
    :raises CompressError: If a graph that reads text would answer something else than its parent.
    """
    models = []
    for variant in chosen:
        say(f"bundle: {variant.name}")
        models.append(_add_variant(packing, variant))
        if text_input and variant.repository == "cpu":
            models.append(_add_text_variant(packing, models[-1]))
    run, folder, rows = packing.run, packing.folder, packing.rows
    if packing.report:
        shutil.copytree(run.path_of(BENCH), folder / "report")
    if packing.certificate:
        for name in (CERTIFICATE_FILE, CERTIFICATE_PAGE):
            shutil.copy(run.path_of(CERTIFICATE) / name, folder / name)
    record_canary(folder, models, rows)
    example = write_client(run.task, run.recipe.task, rows[0], models, folder)
    write_card(run, models, Evidence(packing.report, packing.certificate), rows, example, folder / CARD)
    return _seal(packing, models)


def _add_variant(packing: Packing, variant: PackedVariant) -> BundleModel:
    """Copy a variant's files, and write what clients and Triton must know."""
    run, labels = packing.run, packing.data.labels
    version = packing.folder / variant.folder
    version.mkdir(parents=True)
    source = run.path_of(variant.name)
    companions = source if (source / "config.json").exists() else run.path_of(exported_name(run))
    for path in (*variant.files(source), *_companions(companions)):
        shutil.copy(path, version / path.name)
    for place in module_folders(companions):
        shutil.copytree(companions / place, version / place)
    model = _described(run, variant, needed_runtime(version))
    _write_description(packing, model, version)
    row = packing.rows[0]
    example = run.task.encoder(load_tokenizer(str(version)), run.recipe.data, labels)([row])[0]
    write_serving(run.task, len(labels), model, packing.report, version, WarmUpRow(row, example))
    return model


def _add_text_variant(packing: Packing, source: BundleModel) -> BundleModel:
    """The same variant with its tokenizer inside."""
    name, folder, labels = f"{source.name}-text", packing.folder, packing.data.labels
    path = source.folder.replace(f"/{source.name}/", f"/{name}/")
    model = source.model_copy(update={"name": name, "folder": path, "reads": "text", "parent": source.name})
    say(f"bundle: {name}: comparing tokens")
    version = folder / model.folder
    version.mkdir(parents=True)
    everything = [row for split in packing.data.splits.values() for row in split]
    add_text_model(folder / source.folder, version, labels, packing.run.recipe.data, everything)
    _write_description(packing, model, None)  # its rows have one label, which no threshold decides
    write_text_serving(len(labels), model, source.name, packing.report, version, packing.rows[0])
    _check_answers(folder / source.folder, version, packing.rows)
    return model.model_copy(update={"bytes": graph_bytes(version), "needs": needed_runtime(version)})


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


def _described(run: Run, variant: PackedVariant, needs: NeededRuntime | None) -> BundleModel:
    summary = variant.summary
    return BundleModel(
        name=variant.name,
        folder=variant.folder,
        runtime=variant.runtime,
        target=variant.target,
        bytes=summary.bytes,
        parent=summary.parent,
        measured=variant.measured,
        parity=BundleParity(**summary.parity.model_dump(exclude={"labels"})) if summary.parity else None,
        accepted=variant.refused,
        tolerance=summary.tolerance,
        versions=run.manifest.stages[variant.name].versions,
        needs=needs,
    )


def _write_description(packing: Packing, model: BundleModel, made: Path | None) -> None:
    description = description_of(
        packing.run.recipe,
        packing.data.labels,
        thresholds_in(made) if made else (),
        activation=activation_in(made) if made else None,
        name=model.name,
        runtime=model.runtime,
        target=model.target,
        reads=model.reads,
    )
    write_json(packing.folder / model.folder / DESCRIPTION, description.model_dump(mode="json", by_alias=True))


def _seal(packing: Packing, models: Sequence[BundleModel]) -> Manifest:
    """Write the bill of materials and the manifest, the last of the files."""
    run, folder, recipe = packing.run, packing.folder, packing.run.recipe
    sources = [model.name for model in models if model.reads == "tokens"]
    made_from = [DATA.name, *reference_stages(run), EVALUATION.name, *sources, *([BENCH] if packing.report else [])]
    made_from += [CERTIFICATE] if packing.certificate else []
    parents = {name: run.digest(name) for name in made_from}
    versions = {name: value for model in models for name, value in model.versions.items()}
    stages = run.manifest.stages
    made = max(stages[name].finished for name in parents)
    files = [_file(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()]
    bom, materials = folder / "bom.cdx.json", materials_of(recipe, run.summary(source_stage(run)))
    write_bom(bom, Material(recipe.name, recipe.bundle.license), made, files, materials, versions)
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


def _file(folder: Path, path: Path) -> BundleFile:
    name, size = path.relative_to(folder).as_posix(), path.stat().st_size
    return BundleFile(path=name, role=role_of(path), sha256=file_sha256(path), bytes=size)


def _companions(source: Path) -> list[Path]:
    """Configuration and tokenizer."""
    kinds = ("*.json", "*.txt", "*.model", "*.spm", "*.jinja")
    found = [path for kind in kinds for path in source.glob(kind)]
    left = _NOT_SERVED if module_folders(source) else (*_NOT_SERVED, MODULES)
    return [path for path in found if path.name not in left]
