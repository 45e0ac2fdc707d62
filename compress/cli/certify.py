"""`compress certify`: what each variant loses in each language, of each label, and of each label in each language."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli.commands import found_run
from compress.cli.options import ARTIFACTS, Json, Output, RunFolder, Verbose
from compress.cli.outcome import finish, show
from compress.errors import CompressError
from compress.extras import require

if TYPE_CHECKING:
    from bench.certify.summary import CertifyResult

EPILOG = (
    "Examples:\n\n"
    "  compress certify                                    the latest run, as `compress bench` measured it\n\n"
    "  compress certify artifacts/demo --max-label-drop 2\n\n"
    "  compress certify artifacts/demo --sign private.pem\n\n"
    "The verdicts are in the certificate; the exit code is 0 whatever they are: `compress check` is the gate."
)


def certify(
    run: RunFolder = None,
    max_drop: Annotated[float, typer.Option(min=0, metavar="POINTS", help="Loss in any language.")] = 1.0,
    max_label_drop: Annotated[
        float,
        typer.Option(min=0, metavar="POINTS", help="Loss of the recall of a label, and of its F1 in any language."),
    ] = 5.0,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign with this private key (PEM).")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="The signer's certificate, then its issuers'.")
    ] = None,
    output: Output = ARTIFACTS,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write down what each variant loses, by language and label, and how much the test rows cannot say."""

    def work() -> CertifyResult:
        require("compress certify", "bench")
        if certificate and sign is None:
            raise CompressError("--certificate: there is nothing to sign with; name the key with --sign")
        if not all(map(math.isfinite, (max_drop, max_label_drop))):
            raise CompressError("--max-drop, --max-label-drop: give a number; infinity and NaN are none")
        from bench.certify.page import certificate_tables
        from bench.certify.stage import Signer, run_certify_stage
        from bench.certify.summary import CERTIFICATE, CertifyResult
        from bench.gate.judgement import Limits

        this = found_run(run, output, {})
        limits = Limits(max_drop=max_drop, max_label_drop=max_label_drop)
        found = run_certify_stage(this, limits, Signer(sign, certificate or ()) if sign else None)
        folder = this.folder / CERTIFICATE.name
        show([*certificate_tables(found), f"certificate: {folder}"], json_)
        return CertifyResult(run=str(this.folder), folder=str(folder), certificate=found)

    finish(work, json_, verbose)
