"""Whether a bundle's certificate is of its models, and what they said of the canary rows does not speak against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.errors import UnavailableError
from compress.metrics.labels import LabelCounts
from compress.reports.certificate import Certificate, CertifiedVariant, read_certificate
from compress.serving.format import (
    CERTIFICATE_FILE,
    BundleModel,
    Canary,
    RecordedAnswers,
    read_bundle_manifest,
    read_canary,
    read_description,
)
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from export.bundle.trust.canary import fewest_same


def certificate_problem(folder: Path, model: BundleModel) -> tuple[str | None, str]:
    """Hold a bundle's certificate against a model that it names.

    The canary rows are some of those that it rests on: of a label in a language they cannot have more right, or more
    wrong, than all of them have, but for as many rows as other batches may change.

    :return: What is wrong, if anything, and what was found.
    :raises UnavailableError: If the certificate does not speak of it, or nothing that it said was recorded.
    :raises CompressError: If a file cannot be read.
    """
    certificate, manifest = read_certificate(folder / CERTIFICATE_FILE), read_bundle_manifest(folder)
    name = model.parent if model.reads == "text" else model.name
    certified = certificate.variants.get(name)
    if certified is None:
        raise UnavailableError(f"the certificate does not speak of {name}")
    if (certificate.run, certificate.task) != (manifest.run, manifest.task):
        return f"it is of {certificate.run}, {certificate.task}; the bundle of {manifest.run}, {manifest.task}", ""
    if certified.digest != manifest.parents.get(name):
        return f"it is of another {name} than was packed", ""
    canary = read_canary(folder)
    recorded = canary.models.get(model.name)
    if recorded is None:
        raise UnavailableError("no outputs were recorded: it could not run where it was packed")
    return _contradiction(folder, model, canary, recorded, certificate, certified)


def _contradiction(
    folder: Path,
    model: BundleModel,
    canary: Canary,
    recorded: RecordedAnswers,
    certificate: Certificate,
    certified: CertifiedVariant,
) -> tuple[str | None, str]:
    rows = [Row(**row.model_dump()) for row in canary.rows]
    languages = [row.lang for row in rows]
    for language in sorted(set(languages)):
        if languages.count(language) > certificate.rows.get(language, 0):
            return f"more canary rows are in {language} than it rests on", ""
    description = read_description(folder / model.folder)
    task = task_named(description.task)
    counts = None if task.VECTORS else task.label_counts(recorded.predictions, rows, description.labels)
    if counts is None:
        return None, f"its {len(certified.languages)} languages have the canary's {len(rows)} rows"
    beyond = _beyond(counts, languages, certified)
    allowed = len(rows) - fewest_same(len(rows), model.tolerance.agreement)  # other batches may change a few
    told = f"{len(certified.cells):,} labels in a language; {beyond} of {len(rows)} canary rows speak against them"
    return (f"{told} (limit {allowed})" if beyond > allowed else None), told


def _beyond(counts: LabelCounts, languages: list[str], certified: CertifiedVariant) -> int:
    """In how many answers canary rows have more right, or more wrong, than all test rows have."""
    cells = {(cell.language, cell.label): (cell.right, cell.wanted - cell.right) for cell in certified.cells}
    spoken = np.array(languages)
    beyond = 0
    for language in sorted(set(languages)):
        own = spoken == language
        for label, name in enumerate(counts.names):
            right, wanted = int(counts.right[own, label].sum()), int(counts.wanted[own, label].sum())
            most_right, most_wrong = cells.get((language, name), (0, 0))
            beyond += max(0, right - most_right) + max(0, wanted - right - most_wrong)
    return beyond
