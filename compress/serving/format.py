"""The bundle's format: the names of its files, and what its manifest and its models' descriptions say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator

from compress.contract import Contract
from compress.errors import CompressError, first_problem
from compress.files import read_limited
from compress.recipe.data import Prefix, check_prefix
from compress.recipe.export import Tolerance
from compress.recipe.teacher import Similarity
from compress.targets import is_for_gpu
from compress.tasks.contract import Activation
from compress.tasks.prompts import prompt_of
from compress.tasks.registry import TaskName, task_named
from compress.variants.registry import Runtime

if TYPE_CHECKING:
    from compress.recipe.recipe import Recipe

SCHEMA = 1
MANIFEST, CANARY, CARD, DESCRIPTION = "manifest.json", "canary.json", "README.md", "compress.json"
CERTIFICATE_FILE, CERTIFICATE_PAGE = "certificate.json", "certificate.md"
SIGNATURE, SIGNATURE_SUM = "model.sig", "model.sig.sha256"
NOT_IN_MANIFEST = (MANIFEST, SIGNATURE, SIGNATURE_SUM)
ARCHIVE_SUFFIX = ".tar.zst"
LARGEST_MANIFEST = 64_000_000  # bytes; signatures name every file too
_LARGEST_CANARY = 512_000_000  # bytes; one number a token and label

ServedRuntime = Literal["ONNX Runtime", "OpenVINO", "TensorRT", "TensorRT-RTX"]
"""What opens a bundle's models, each by its own files."""

_Read = TypeVar("_Read", bound=Contract)


def _stays_inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path != "/".join(parts) or ".." in parts or path.startswith("/") or "\\" in path or ":" in parts[0]:
        raise ValueError(f"the path {path!r} is not one inside of the bundle")
    return path


BundlePath = Annotated[str, AfterValidator(_stays_inside)]
"""A path inside of the bundle, with forward slashes."""


class BundleFile(Contract):
    """One file: what it is for, and its contents' hash."""

    path: BundlePath
    role: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class BundleParity(Contract):
    """How far a variant's outputs were from its parent's, on real rows."""

    rows: int
    max_difference: float
    mean_difference: float
    agreement: float = Field(description="share of rows with the same prediction")
    cosine: float | None = Field(None, description="of vectors the smallest of a text's two; null: no vectors")
    largest_value: float | None = Field(
        None,
        description="null: compared as it runs; else it calculates in half precision, up to 65,504, and was "
        "compared in 32 bits, where this was the largest value of what is not too large",
    )
    too_large: int | None = Field(
        None,
        description="nodes whose values half precision cannot hold: with what reads them they calculate in 32 bits; "
        "null: not looked for",
    )


class NeededRuntime(Contract):
    """The oldest ONNX Runtime that runs a model's graphs."""

    oldest: str | None = Field(description="its first two numbers; null: not known")
    because: str = Field(description="what of the graphs needs it, or is not known")


class BundleModel(Contract):
    """One variant, ready to be loaded from its folder."""

    name: str
    folder: BundlePath = Field(description="a version folder of a Triton model repository, in Optimum's layout")
    runtime: ServedRuntime
    target: str
    reads: Literal["tokens", "text"] = "tokens"
    bytes: Annotated[int, Field(ge=0)] = Field(description="of its graphs, or engines")
    parent: str
    measured: bool = Field(description="by `compress bench`, these very files")
    parity: BundleParity | None = Field(description="none: it was not compared with its parent")
    accepted: str | None = Field(None, description="why it would have been refused, had it not been accepted by name")
    tolerance: Tolerance = Field(description="what its outputs may differ on another target than they were recorded on")
    versions: dict[str, str] = Field(description="that made it")
    needs: NeededRuntime | None = Field(None, description="what its graphs need; null: it has none in ONNX")

    @property
    def on_gpu(self) -> bool:
        """Whether it was made for a GPU."""
        return is_for_gpu(self.target)


class Manifest(Contract):
    """`manifest.json`: every file, and where it all comes from."""

    version: Literal[1] = Field(1, alias="schema")
    run: str
    task: TaskName
    parents: dict[str, str] = Field(description="digests of the run's stages that it was made from")
    versions: dict[str, str] = Field(description="that made the models")
    models: Annotated[list[BundleModel], Field(min_length=1)]
    files: list[BundleFile]
    digest: str = Field("", description="SHA-256 of this manifest with an empty digest")

    def as_text(self) -> str:
        """The one way in which it is written, so that no byte of it can differ."""
        return _as_written(self.model_dump(mode="json", by_alias=True))

    def sealed(self) -> Manifest:
        """With its digest."""
        return self.model_copy(update={"digest": _digest_of(self.model_dump(mode="json", by_alias=True))})


def _as_written(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_as_written({**content, "digest": ""}).encode()).hexdigest()


class Description(Contract):
    """`compress.json` beside a model: what a client must know to ask it."""

    model_config = ConfigDict(allow_inf_nan=False)

    version: Literal[1] = Field(1, alias="schema")
    name: str
    task: TaskName
    labels: list[str]
    runtime: Runtime
    target: str
    reads: Literal["tokens", "text"] = "tokens"
    pairs: bool = Field(description="whether texts come in pairs")
    max_length: Annotated[int, Field(ge=8, le=8192)]
    language_codes: dict[str, str] = Field(default_factory=dict)
    prefix: Prefix | None = None
    prompts: dict[str, str] | None = Field(None, description="what stands before a text, by what it is")
    default_prompt: str | None = Field(None, description="which of them where nothing is said; null: none")
    similarity: Similarity | None = Field(None, description="how vectors are compared; null: it gives none")
    dimensions: list[Annotated[int, Field(gt=0)]] = Field(
        default_factory=list, description="so many of a vector's first numbers may stand for it (Matryoshka)"
    )
    activation: Activation | None = Field(None, description="what makes a score of an output; null: it gives none")
    beams: Annotated[int, Field(gt=0)] = 1
    length_penalty: float = 1.0
    thresholds: list[float] = Field(
        default_factory=list,
        description="the probability from which on each label is said, where a text may have several (empty: 0.5); or "
        "by how much no answer must beat the best one (empty: every question is answered)",
    )

    def asked_as(self, kind: str | None) -> Description:
        """The same where texts of which nothing is said are of a kind.

        :raises CompressError: If it has no such prompt.
        """
        if not kind:
            return self
        prompts = {**(self.prompts or {}), kind: prompt_of(self, kind)}
        return self.model_copy(update={"prompts": prompts, "default_prompt": kind})

    @model_validator(mode="after")
    def _the_prefix_can_be_filled_in(self) -> Description:
        check_prefix(self.prefix, translates=task_named(self.task).GENERATES)
        return self

    @model_validator(mode="after")
    def _each_label_has_one(self) -> Description:
        several = task_named(self.task).SEVERAL_LABELS
        if several and not all(0 < threshold < 1 for threshold in self.thresholds):
            raise ValueError("thresholds: they are probabilities between 0 and 1")
        wanted = len(self.labels) if several else 1
        if self.thresholds and len(self.thresholds) != wanted:
            raise ValueError(f"there are {len(self.thresholds)} thresholds in place of {wanted}")
        return self


def description_of(
    recipe: Recipe,
    labels: Sequence[str],
    thresholds: Sequence[float],
    *,
    activation: Activation | None = None,
    name: str,
    runtime: Runtime,
    target: str = "any",
    reads: Literal["tokens", "text"] = "tokens",
) -> Description:
    """What a client must know about a model of a run.

    :param recipe: The run's.
    :param labels: Of the model, by number.
    :param thresholds: Where its configuration has some.
    :param activation: Of a model whose outputs rank.
    """
    data, task = recipe.data, task_named(recipe.task)
    return Description(
        name=name,
        task=recipe.task,
        labels=list(labels),
        runtime=runtime,
        target=target,
        reads=reads,
        pairs=not task.VECTORS and (bool(data.fields.text_pair) or "text_pair" in task.FIELDS),
        max_length=data.max_length,
        language_codes=data.language_codes,
        prefix=data.prefix,
        prompts=data.prompts,
        default_prompt=data.default_prompt,
        similarity=recipe.teacher.embedding.compared_by if task.VECTORS else None,
        dimensions=recipe.student.distillation.vectors.dimensions if recipe.student.is_learnt else [],
        activation=activation if task.RANKS else None,
        beams=recipe.generation.beams,
        length_penalty=recipe.generation.length_penalty,
        thresholds=list(thresholds),
    )


class CanaryRow(Contract):
    """A test row, as `compress.tasks.rows.Row` has it."""

    text: Any
    label: Any = ""
    lang: str
    text_pair: str | None = None
    parallel: str | None = None


class RecordedAnswers(Contract):
    """What a model said of the canary rows: numbers, one list an example, and predictions, one a row."""

    outputs: list[Any]
    predictions: list[Any]


class Canary(Contract):
    """`canary.json`: rows, and what each model said of them."""

    version: Literal[1] = Field(1, alias="schema")
    recorded_on: str = Field(description="target of the processor")
    rows: list[CanaryRow]
    models: dict[str, RecordedAnswers]


def refuse_run(folder: Path) -> None:
    """Say what to name in place of a run directory, which has a manifest of its own.

    :raises CompressError: If the folder is one.
    """
    if (folder / "recipe.yaml").exists():
        raise CompressError(f"{folder}: a run, not a bundle; name {folder / 'bundle'}, which `compress bundle` fills")


def read_bundle_manifest(folder: Path) -> Manifest:
    """The manifest of a bundle, unaltered.

    :raises CompressError: If there is none, it was altered, or it is of another version.
    """
    path = folder / MANIFEST
    manifest, written = _read(path, Manifest, LARGEST_MANIFEST), read_limited(path, LARGEST_MANIFEST)
    content = json.loads(written)  # as it is: fields that later versions have added are not in it
    if _digest_of(content) != manifest.digest or _as_written(content).encode() != written:
        raise CompressError(f"{path}: altered after it was written; get the bundle again")
    return manifest


def read_description(folder: Path) -> Description:
    """What a client must know about the model in a folder.

    :raises CompressError: If the folder has no description, or not one that can be read.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        raise CompressError(
            f"{folder}: neither a bundle nor one of its models: {MANIFEST} and {DESCRIPTION} are missing"
        )
    description = _read(path, Description, LARGEST_MANIFEST)
    if description.runtime == "PyTorch":
        raise CompressError(f"{path}: not as it must be: nothing of a bundle runs in PyTorch; get the bundle again")
    return description


def read_canary(folder: Path) -> Canary:
    """The canary rows of a bundle.

    :raises CompressError: If they cannot be read.
    """
    return _read(folder / CANARY, Canary, _LARGEST_CANARY)


def _read(path: Path, model: type[_Read], largest: int) -> _Read:
    try:
        content = json.loads(read_limited(path, largest).decode("utf-8"))
    except OSError as error:
        raise CompressError(f"{path}: cannot be read ({error.strerror}); name a bundle's folder") from error
    except (ValueError, RecursionError) as error:
        raise CompressError(f"{path}: damaged, not JSON; get the bundle again") from error
    if isinstance(content, dict) and content.get("schema") != SCHEMA:
        raise CompressError(f"{path}: schema {content.get('schema')!r}, this version reads {SCHEMA}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise CompressError(f"{path}: not as it must be: {first_problem(error)}; get the bundle again") from error
