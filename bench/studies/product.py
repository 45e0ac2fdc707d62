"""The product as its users have it: the command line, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from compress.runs.directory import Run, find_run
from compress.subprocesses import module_command, module_environment


def run_command(*words: object, threads: int | None = None) -> dict[str, JsonValue]:
    """What a command prints with ``--json``; what it says on the way goes to standard error.

    :param threads: Of its libraries; none for all processors.
    :raises SystemExit: If it ends with another exit code than 0.
    """
    variables = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    command = [*module_command("compress"), *map(str, words), "--json"]
    done = subprocess.run(  # noqa: S603
        command, stdout=subprocess.PIPE, text=True, check=False, env=module_environment(**variables)
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} ended with exit code {done.returncode}")
    found: dict[str, JsonValue] = json.loads(done.stdout)
    return found


def assignments(fields: Mapping[str, JsonValue]) -> list[str]:
    """Fields of a recipe as options of the command line."""
    return [word for field, value in fields.items() for word in ("--set", f"{field}={json.dumps(value)}")]


def exported_run(output: Path, fields: Mapping[str, JsonValue]) -> Run:
    """The demo, distilled and exported.

    :param output: Folder of the run.
    :param fields: Of its recipe.
    """
    run_command("distill", *assignments(fields), "--output", output)
    run_command("export", "--output", output)
    return find_run(None, output)
