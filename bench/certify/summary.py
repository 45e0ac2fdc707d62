"""What the certificate stage returns, and what `compress certify` prints as JSON."""

from __future__ import annotations

from compress.contract import Contract
from compress.metrics.figures import Verdict
from compress.reports.certificate import Certificate
from compress.runs.manifest import Stage


class CertificateSummary(Contract):
    """What was certified, and the worst verdict."""

    verdict: Verdict
    variants: list[str]
    signed: bool


class CertifyResult(Contract):
    """Of `compress certify`."""

    run: str
    folder: str
    certificate: Certificate


CERTIFICATE = Stage("certificate", CertificateSummary)
