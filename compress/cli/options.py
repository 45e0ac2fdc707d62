"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from compress.errors import CompressError

if TYPE_CHECKING:
    from pydantic import JsonValue

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder that holds all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, all else to stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show libraries' messages and, on an error, the traceback.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Override any recipe field: --set student.layers=3"),
]
SetForNow = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="FIELD=VALUE",
        help="Override a field of `bench`, for this measurement alone: --set bench.rows=50",
    ),
]
SetForBundle = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Override a field of `bundle`: --set bundle.license=MIT"),
]
RunFolder = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="Run directory.", show_default="the latest")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a MODEL on the hub.")]
Subfolder = Annotated[str | None, typer.Option(help="Where the MODEL lies in its folder or repository.")]
Token = Annotated[
    str | None,
    typer.Option(metavar="VARIABLE", help="Environment variable with the token for the hub; true: your login there."),
]
TrustRemoteCode = Annotated[bool, typer.Option("--trust-remote-code", help="Run the code that comes with the MODEL.")]
_LOGIN = "true"
ARTIFACTS = Path("artifacts")
Overrides = dict[str, "JsonValue"]
"""Values by dotted field of the recipe."""


def assigned(assignments: list[str] | None) -> Overrides:
    """Values by dotted field, of ``--set FIELD=VALUE``.

    :raises CompressError: If one is not written so.
    """
    from compress.recipe.parsing import parse_yaml

    overrides: Overrides = {}
    for assignment in assignments or []:
        field, separator, value = assignment.partition("=")
        if not separator:
            raise CompressError(f"--set {assignment:.100}: expected FIELD=VALUE, for example --set student.layers=3")
        overrides[field.strip()] = cast("JsonValue", parse_yaml(value, f"--set {assignment:.100}"))
    return overrides


def assigned_for_measuring(assignments: list[str] | None) -> Overrides:
    """The same for a measurement, which cannot change what models read or were made with.

    :raises CompressError: If a field is not of the recipe's section on measuring.
    """
    told = "a measurement changes fields of `bench` alone, and for itself; the others belong to what is measured"
    return _assigned_within("bench", told, assignments)


def assigned_for_packing(assignments: list[str] | None) -> Overrides:
    """The same for a bundle, which packs models as they were made.

    :raises CompressError: If a field is not of the recipe's section on bundles.
    """
    told = "a bundle is told fields of `bundle` alone; the others belong to what is packed"
    return _assigned_within("bundle", told, assignments)


def _assigned_within(section: str, told: str, assignments: list[str] | None) -> Overrides:
    overrides = assigned(assignments)
    for field in overrides:
        if field.partition(".")[0] != section:
            raise CompressError(f"--set {field}: {told}: set them with `compress distill` or `compress export`")
    return overrides


def given(values: Mapping[str, object]) -> Overrides:
    """Those of the command's options that the user gave; JSON values all of them."""
    return cast("Overrides", {name: value for name, value in values.items() if value is not None})


def access(revision: str | None, subfolder: str | None, token: str | None, trust_remote_code: bool) -> Overrides:
    """How a model from elsewhere is reached, of the options that say it."""
    return given(
        {
            "teacher.revision": revision,
            "teacher.subfolder": subfolder,
            "teacher.token": True if token == _LOGIN else token,
            "teacher.trust_remote_code": trust_remote_code or None,
        }
    )


def listed(text: str | None) -> list[str] | None:
    """The parts of an option that names several things."""
    return None if text is None else text.split(",")
