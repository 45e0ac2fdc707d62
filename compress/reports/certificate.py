"""The certificate as JSON: what each variant loses in each language, of each label, and of each label in each language.

`certificate.schema.json` beside this file is the same as JSON Schema (``python -m compress.reports.certificate`` prints
it). A certificate of another version is refused by those who read it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from compress.contract import Contract
from compress.errors import CompressError, first_problem
from compress.files import read_limited
from compress.metrics.figures import WORST_FIRST, Verdict

SCHEMA = 1
_LARGEST = 512_000_000  # bytes


class CertifiedLoss(Contract):
    """Points lost against the model that the run starts from; less than 0 is a gain. The lower end holds with 95 % for
    all losses of the certificate together, the upper one with 95 % for itself."""

    value: float
    low: float
    high: float
    verdict: Verdict = Field(
        description="pass: at most the limit is lost; fail: more is; not enough rows: so few could not show, whatever "
        "they said, that no more is lost; inconclusive: these do not show which"
    )


class CertifiedLanguage(Contract):
    """The main metric in a language."""

    language: str
    rows: int
    loss: CertifiedLoss


class CertifiedLabel(Contract):
    """The recall of a label in all languages together."""

    label: str
    rows: int = Field(description="that have it")
    recall: CertifiedLoss


class CertifiedCell(Contract):
    """A label in a language."""

    language: str
    label: str
    rows: int = Field(description="that have it")
    wanted: int = Field(description="how often they have it: rows, words or spans")
    right: int = Field(description="how often of these the variant finds it")
    recall: CertifiedLoss
    f1: CertifiedLoss


class CertifiedVariant(Contract):
    """What is known of one variant, on one target."""

    target: str
    digest: str = Field(description="of its stage in the run")
    agreement: float = Field(description="share of rows with the same prediction, 0 to 1")
    languages: list[CertifiedLanguage]
    labels: list[CertifiedLabel]
    cells: list[CertifiedCell] = Field(description="in order of language and label")

    @property
    def verdicts(self) -> Counter[Verdict]:
        """How many losses have each."""
        return Counter(loss.verdict for loss in self.losses)

    @property
    def losses(self) -> Iterable[CertifiedLoss]:
        """All of them."""
        yield from (one.loss for one in self.languages)
        yield from (one.recall for one in self.labels)
        yield from (loss for one in self.cells for loss in (one.recall, one.f1))


class Certificate(Contract):
    """What `compress certify` found."""

    version: Literal[1] = Field(1, alias="schema")
    run: str
    task: str
    made: str = Field(description="when the models were measured, ISO 8601")
    against: str = Field(description="the model that the run starts from, which all others are compared with")
    metric: str = Field(description="of the languages")
    max_drop: float = Field(description="points of the metric that a language may lose")
    max_label_drop: float = Field(description="points of recall that a label may lose, in a language of F1 too")
    labelled: bool = Field(description="false: rows have no labels, and what the model says takes their place")
    without_labels: str | None = Field(description="why there are no labels to tell of; null: there are")
    rows: dict[str, int] = Field(description="test rows by language")
    rows_digest: str = Field(description="SHA-256 of the test rows")
    labels: list[str]
    versions: dict[str, str]
    variants: dict[str, CertifiedVariant]

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        found = {verdict for variant in self.variants.values() for verdict in variant.verdicts}
        return next((verdict for verdict in WORST_FIRST if verdict in found), "pass")

    def told(self, name: str) -> str:
        """How many losses of a variant have which verdict, in words."""
        variant = self.variants[name]
        found = [f"{variant.verdicts[verdict]:,} {verdict}" for verdict in WORST_FIRST if variant.verdicts[verdict]]
        of = f"{len(variant.languages)} languages"
        if variant.cells:
            of += f", {len(variant.labels)} labels, {len(variant.cells):,} labels in a language (recall and F1)"
        return f"{name}: {', '.join(found)}, of {of}; {100 * variant.agreement:.1f} % of its predictions are the same"

    def as_text(self) -> str:
        """As it is written."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


def read_certificate(path: Path) -> Certificate:
    """Read a certificate.

    :raises CompressError: If it is none, or of another version.
    """
    try:
        content = json.loads(read_limited(path, _LARGEST))
    except OSError as error:
        raise CompressError(f"{path}: cannot be read ({error.strerror}); name a certificate.json") from error
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CompressError(f"{path}: no certificate of schema {SCHEMA}; `compress certify` makes one")
    try:
        return Certificate.model_validate(content)
    except ValidationError as error:
        raise CompressError(f"{path}: not a certificate: {first_problem(error)}; make it again") from error


if __name__ == "__main__":
    print(json.dumps(Certificate.model_json_schema(by_alias=True), indent=2))
