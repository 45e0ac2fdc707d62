"""`compress serve`: a bundle's model behind HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compress.cli.options import Json, Verbose
from compress.cli.outcome import finish
from compress.errors import CompressError
from compress.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.cli.results import ServeResult

_MEND = "; get the bundle again"
EPILOG = (
    "Examples:\n\n"
    "  compress serve artifacts/latest/bundle\n\n"
    "  compress serve bundle --key public.pem --host 0.0.0.0 --port 80 --threads 4\n\n"
    '  curl 127.0.0.1:8000/v1/embeddings --json \'{"model": "onnx-int8", "input": "a text"}\'\n\n'
    "SIGTERM and Ctrl-C end it: what has begun is answered, exit code 0."
)


def serve(
    bundle: Annotated[Path, typer.Argument(help="Folder.")],
    variant: Annotated[
        str | None, typer.Option(help="Which of its models.", show_default="the first that runs")
    ] = None,
    host: Annotated[str, typer.Option(help="Address; 0.0.0.0 for everybody.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="The signer's public key.")] = None,
    certificate: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="Of those who issue signers' certificates.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of one run.", show_default="as many as may run at once")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, metavar="BYTES", help="That the process may come to hold.")
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, max=1024, help="Texts that run side by side.")] = 32,
    max_delay: Annotated[
        float, typer.Option(min=0, max=10_000, metavar="MS", help="How long a text waits for others to join it.")
    ] = 0.0,
    max_waiting: Annotated[int, typer.Option(min=1, help="Texts that wait for the model.")] = 4096,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of a request.")] = 1024,
    max_characters: Annotated[int, typer.Option(min=1, help="Characters of a text.")] = 50_000,
    max_request_bytes: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 4_000_000,
    json_: Json = False,
    verbose: Verbose = False,
) -> None:
    """Verify a bundle and answer over HTTP: KServe's protocol (v2), OpenAI's for vectors, Prometheus' metrics."""

    def work() -> ServeResult:
        require("compress serve", "cpu", "serve")
        from compress.cli.results import ServeResult
        from compress.console import quiet_transformers, say
        from compress.server.limits import ServerLimits
        from compress.server.running import held_address, run_server, warm_up
        from compress.serving.client import open_model
        from compress.serving.format import read_canary

        limits = ServerLimits(
            request_bytes=max_request_bytes,
            texts=max_texts,
            characters=max_characters,
            waiting=max_waiting,
            batch=max_batch,
            delay_ms=max_delay,
        )
        quiet_transformers()
        with held_address(host, port) as address:
            _verify(bundle, key, certificate or [])
            say(f"serve: opening {bundle}")
            model = open_model(bundle, variant, threads, memory)
            for row in read_canary(bundle).rows[:1]:
                warm_up(model, row)
            requests = run_server(model, address, limits)
        return ServeResult(bundle=str(bundle), model=model.description.name, url=address.url, requests=requests)

    finish(work, json_, verbose)


def _verify(bundle: Path, key: Path | None, certificates: Sequence[Path]) -> None:
    """Refuse a bundle that is not what was packed.

    :raises CompressError: Naming what fails.
    """
    from compress.console import working
    from compress.serving.format import ARCHIVE_SUFFIX
    from export.bundle.trust.verify import verify

    if key and certificates:
        raise CompressError("--key beside --certificate: a bundle is signed with one of them; name the one")
    if bundle.is_file() and bundle.name.endswith(ARCHIVE_SUFFIX):
        raise CompressError(f"{bundle}: unpack it first: compress verify {bundle} --unpack FOLDER")
    with working(f"serve: verifying {bundle}"):
        found = verify(bundle, key, certificates)
    failed = [f"{check.what}: {check.found}" for check in found.checks if check.passed is False]
    if failed:
        raise CompressError(f"{bundle}: {'; '.join(failed).removesuffix(_MEND)}{_MEND}")
