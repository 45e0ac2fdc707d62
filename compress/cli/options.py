"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compress.errors import CompressError

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that holds all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, all else to stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show libraries' messages and, on an error, the traceback.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Override any recipe field: --set student.layers=3"),
]
SetForNow = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Override any recipe field, for this measurement alone."),
]
RunFolder = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run directory.", show_default="the latest")]
ARTIFACTS = Path("artifacts")


def assigned(assignments: list[str] | None) -> dict[str, object]:
    """Values by dotted field, of ``--set FIELD=VALUE``.

    :raises CompressError: If one is not written so.
    """
    import yaml

    overrides: dict[str, object] = {}
    for assignment in assignments or []:
        field, separator, value = assignment.partition("=")
        if not separator:
            raise CompressError(f"--set {assignment}: expected FIELD=VALUE, for example --set student.layers=3")
        overrides[field.strip()] = yaml.safe_load(value)
    return overrides


def given(values: dict[str, object]) -> dict[str, object]:
    """Those that are not none."""
    return {name: value for name, value in values.items() if value is not None}


def listed(text: str | None) -> list[str] | None:
    """The parts of an option that names several things."""
    return text.split(",") if text else None
