"""The bundle stage: the chosen variants with all that a serving team needs to load, check and trust them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from compress.console import table
from compress.data.stage import load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.evaluation.summary import EVALUATION
from compress.models.load import load_tokenizer
from compress.reports.bench import Report
from compress.runs.directory import Run, keep_recipe
from compress.runs.stages import run_stage
from compress.runtimes.onnx import text_operators
from compress.serving.format import read_bundle_manifest
from compress.student.summary import exported_name
from export.bundle.choice import BENCH, CERTIFICATE, PackedVariant, choose_variants
from export.bundle.contents.text_input import tokenizer_parts
from export.bundle.packing import Packing, canary_rows, pack_variants
from export.bundle.summary import BUNDLE, BundleSummary
from export.bundle.trust.signature import check_signer, sign


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


def run_bundle_stage(run: Run, wanted: Wanted, report: Report | None) -> BundleSummary:
    """Fill ``bundle/``, and make what the command sets in the recipe the run's own.

    What is packed, is told of as it was made.

    :param report: Of the run's bench stage, if it has been run.
    :raises CompressError: If a variant may not be packed, or cannot be with what is asked for.
    """
    run = run.as_made
    chosen = choose_variants(run, report, wanted.variants, wanted.accepted)
    check_no_code(run.path_of(exported_name(run)))
    if wanted.text_input:
        _check_text_input(run, chosen)
    if wanted.key:
        check_signer(wanted.key, wanted.certificates)
    inputs = {
        "variants": [[variant.name, variant.refused] for variant in chosen],
        "text input": wanted.text_input,
        **run.recipe.bundle.model_dump(),
        **run.tokenisation,
        "generation": run.recipe.generation.model_dump(),
        "signed": bool(wanted.key),
    }
    parents = [DATA.name, EVALUATION.name, exported_name(run), *(variant.name for variant in chosen)]
    parents += [BENCH] if report else []
    parents += [CERTIFICATE] if run.is_current(CERTIFICATE) else []
    run.current(EVALUATION.name)
    summary = run_stage(
        run,
        BUNDLE,
        inputs,
        parents,
        lambda folder, _: _build(run, chosen, wanted, report, folder),
        always=bool(wanted.key),
    )
    if run.overrides:  # only now: what was refused leaves the recipe as it was
        keep_recipe(run)
    return summary


def bundle_table(folder: Path) -> Table:
    """One row a model: what it is for, and what was checked.

    :raises CompressError: If the folder is no bundle.
    """
    rows = [
        (
            model.name,
            model.runtime,
            model.target,
            model.reads,
            "yes" if model.measured else "no",
            "yes" if model.parity or model.reads == "text" else "no",
            model.folder,
            f"{model.bytes / 1e6:.2f}",
        )
        for model in read_bundle_manifest(folder).models
    ]
    headings = ("model", "runtime", "target", "reads", "measured", "compared", "folder", "MB")
    return table("Models of the bundle", headings, rows, left=7)


def _build(
    run: Run, chosen: Sequence[PackedVariant], wanted: Wanted, report: Report | None, folder: Path
) -> BundleSummary:
    data = load_data(run)
    packing = Packing(run, data, report, canary_rows(run, data), folder)
    manifest = pack_variants(packing, chosen, text_input=wanted.text_input)
    if wanted.key:
        sign(folder, wanted.key, wanted.certificates)
    return BundleSummary(
        models={model.name: model.target for model in manifest.models},
        bytes=sum(file.bytes for file in manifest.files),
        digest=manifest.digest,
        signed=bool(wanted.key),
    )


def check_no_code(model: Path) -> None:
    """Refuse a model whose tokenizer is code of its own: graphs need none, and a bundle never carries any.

    :param model: A folder with its tokenizer.
    :raises CompressError: Naming the folder.
    """
    told = model / "tokenizer_config.json"
    if told.is_file() and "auto_map" in json.loads(told.read_text("utf-8")):
        raise CompressError(
            f"bundle: the tokenizer in {model} is code of its own, which a bundle never carries; use one that "
            "tokenizer.json describes (tokenizer_class: PreTrainedTokenizerFast)"
        )


def _check_text_input(run: Run, chosen: Sequence[PackedVariant]) -> None:
    """What cannot be done is said before any work is."""
    if not run.task.SINGLE_LABEL or run.recipe.data.fields.text_pair:
        raise CompressError("--text-input is for classes of single texts; leave it out")
    if not any(variant.repository == "cpu" for variant in chosen):
        names = ", ".join(variant.name for variant in chosen)
        raise CompressError(f"--text-input is for ONNX Runtime on the CPU, not for {names}; add such a --variant")
    tokenizer_parts(load_tokenizer(str(run.path_of(exported_name(run)))), run.recipe.data)
    text_operators()
