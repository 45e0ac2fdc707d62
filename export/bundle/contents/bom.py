"""The bill of materials, in CycloneDX (ECMA-424): the models, what they were learnt from, and what made them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from compress.recipe.recipe import Recipe
from compress.runs.versions import program_version
from compress.serving.format import BundleFile
from compress.teacher.summary import TeacherSummary

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

_NAMESPACE = uuid.UUID("5d1b8a52-3a8e-4a3c-8e57-0d2b1f6f6c11")


@dataclass(frozen=True)
class Material:
    """What models were made from, or the models themselves, the licence as the user gave it, and of what the hub gave
    the commit."""

    name: str
    license: str | None
    revision: str | None = None


def materials_of(recipe: Recipe, source: TeacherSummary) -> dict[str, Material]:
    """Data and teacher of a run and, where a file has its predictions, what the student's first weights are of; of
    paths the last part, as the rest is the packer's own.

    :param source: Of the model that the recipe's section on the teacher describes.
    """
    files = [name for name in (recipe.data.train, recipe.data.validation, recipe.data.test) if name]
    data = ", ".join(map(_name_alone, files or [recipe.data.source]))
    given, licenses = recipe.teacher, recipe.bundle
    name = _name_alone(given.model) if given.model else "trained from scratch"
    revision = source.intake.revision if source.intake else None
    teacher = Material(name, licenses.teacher_license, revision)
    found = {"data": Material(data, licenses.data_license)}
    if source.intake and source.intake.code:
        found["code"] = Material(source.intake.code.repository, None, source.intake.code.revision)
    if not given.predictions:
        return found | {"teacher": teacher}
    found["predictions"] = Material(_name_alone(given.predictions), None if given.model else licenses.teacher_license)
    return found | ({"initial": teacher} if given.model else {})


def _name_alone(source: str) -> str:
    """An absolute path's last part, or that of one that leads elsewhere; names of hubs and below a folder are whole."""
    path = Path(source)
    return path.name if path.is_absolute() or source.startswith(("..", "~")) else source


def write_bom(
    path: Path,
    models: Material,
    made: datetime,
    files: Sequence[BundleFile],
    materials: Mapping[str, Material],
    versions: Mapping[str, str],
) -> None:
    """Write the bill of materials (CycloneDX 1.6); the same contents give the same bytes.

    :param models: The run's name, and their licence.
    :param made: When the run's last stage was finished.
    :param files: Of the bundle.
    :param materials: Data and teacher.
    :param versions: Of the packages that made the models.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = Bom()
    bom.metadata.timestamp = made
    tool = Component(name="compress-export", version=program_version(), type=ComponentType.APPLICATION)
    bom.metadata.tools.components.add(tool)
    root = Component(
        name=models.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"run:{models.name}",
        licenses=_licenses(models),
    )
    bom.metadata.component = root
    components = [*_files(files), *_sources(materials), *_packages(versions)]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    hashes = json.dumps([[file.path, file.sha256] for file in files])
    bom.serial_number = uuid.uuid5(_NAMESPACE, hashes)
    output = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    path.write_text(output.output_as_string(indent=2) + "\n", "utf-8")


def _files(files: Sequence[BundleFile]) -> list[Component]:
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    kinds = {"model": ComponentType.MACHINE_LEARNING_MODEL, "data": ComponentType.DATA}
    return [
        Component(
            name=file.path,
            type=kinds.get(file.role, ComponentType.FILE),
            bom_ref=f"file:{file.path}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        )
        for file in files
    ]


def _sources(materials: Mapping[str, Material]) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    kinds = {"data": ComponentType.DATA, "predictions": ComponentType.DATA, "code": ComponentType.LIBRARY}

    def url(material: Material) -> PackageURL | None:
        if material.revision is None:
            return None
        owner, _, name = material.name.rpartition("/")
        return PackageURL("huggingface", owner or None, name, material.revision)

    return [
        Component(
            name=material.name,
            version=material.revision,
            purl=url(material),
            type=kinds.get(role, ComponentType.MACHINE_LEARNING_MODEL),
            bom_ref=role,
            licenses=_licenses(material),
            description=role,
        )
        for role, material in materials.items()
    ]


def _licenses(material: Material) -> list[License]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(material.license)] if material.license else []


def _packages(versions: Mapping[str, str]) -> list[Component]:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return [
        Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=f"package:{name}",
            purl=PackageURL("pypi", name=name, version=version),
        )
        for name, version in versions.items()
        if name not in ("compress", "python")
    ]
