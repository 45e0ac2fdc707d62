"""Which architectures go which way: `python -m bench.studies.architectures [NAMES]`.

Each is built with random weights in two layers and a tokenizer of its own kind, and taken as a teacher, with a student
that has every second of its layers, and as it is; each of the two through ONNX, fused operators, int8 and an engine
that is built ahead of time. The documentation's table is made of what this writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console

from bench.report.tables import ReportTable
from bench.report.text import terminal_table
from bench.studies.architecture_models import ARCHITECTURES
from bench.studies.architecture_process import FORMS, Outcome, Road
from compress.console import say
from compress.contract import Contract
from compress.subprocesses import ProcessLimits, ask_limited

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "architectures.json"
_LIMITS = ProcessLimits(seconds=900, memory=8_000_000_000)
_HEADINGS = ("architecture", "task", "tokenizer's files", "with a student", "as it is", *FORMS)


class TriedArchitecture(Contract):
    """One architecture: what came of it, or why its process did not come back."""

    outcome: Outcome | None
    failure: str | None

    @property
    def refusals(self) -> list[str]:
        """All lines that refused something, each once."""
        if self.outcome is None:
            return [f"the process that tried it {self.failure}"]
        roads = (self.outcome.distilled, self.outcome.as_is)
        lines = [line for road in roads for line in (road.taken, *road.forms.values()) if line]
        return list(dict.fromkeys(lines))


Entries = TypeAdapter(dict[str, TriedArchitecture])


def tried(name: str) -> TriedArchitecture:
    """Try an architecture in a process that may not come back."""
    told = ask_limited("bench.studies.architecture_process", name, _LIMITS)
    outcome = Outcome.model_validate_json(told.lines[-1]) if told.lines else None
    return TriedArchitecture(outcome=outcome, failure=None if outcome else told.failure)


def architectures_table(entries: Mapping[str, TriedArchitecture]) -> ReportTable:
    """One row for each; numbers lead to the lines of `refusal_lines`."""
    numbers = {line: f"no ({number})" for number, line in enumerate(_refusals(entries), start=1)}
    rows = []
    for name, entry in entries.items():
        outcome, task = entry.outcome, ARCHITECTURES[name].task
        if outcome is None:
            rows.append([name, task, "", *[numbers[entry.refusals[0]]] * (len(_HEADINGS) - 3)])
            continue
        roads = (outcome.distilled, outcome.as_is)
        taken = [numbers[road.taken] if road.taken else "yes" for road in roads]
        made = [_form(form, roads, numbers) for form in FORMS]
        rows.append([name, task, ", ".join(outcome.files), *taken, *made])
    return ReportTable("Architectures", list(_HEADINGS), rows, left=len(_HEADINGS))


def refusal_lines(entries: Mapping[str, TriedArchitecture]) -> list[str]:
    """The lines that refused something, numbered as in the table."""
    return [f"{number}. {line}" for number, line in enumerate(_refusals(entries), start=1)]


def markdown(path: Path = RESULTS) -> str:
    """The table for the documentation, of the results that a file holds."""
    entries = Entries.validate_json(path.read_bytes())
    table = architectures_table(entries)
    rows = [table.headings, ["---"] * len(table.headings), *table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *refusal_lines(entries)])


def _form(form: str, roads: Sequence[Road], numbers: Mapping[str, str]) -> str:
    """Whether a form can be made of all that was taken."""
    found = [road.forms[form] for road in roads if form in road.forms]
    refused = next((line for line in found if line), None)
    return "" if not found else numbers[refused] if refused else "yes"


def _refusals(entries: Mapping[str, TriedArchitecture]) -> list[str]:
    return list(dict.fromkeys(line for entry in entries.values() for line in entry.refusals))


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Architectures; left out: all.")] = None,
    results: Annotated[Path, typer.Option(help="Written; what it says of others stays.")] = RESULTS,
) -> None:
    """Try architectures one after the other; what came of them is written after each."""
    if unknown := [name for name in names or () if name not in ARCHITECTURES]:
        raise typer.BadParameter(f"{unknown[0]}: there is none; name some of {', '.join(ARCHITECTURES)}")
    known = Entries.validate_json(results.read_bytes()) if results.exists() else {}
    for name in names or ARCHITECTURES:
        known[name] = tried(name)
        say(f"{name}: {'; '.join(known[name].refusals) or 'all can be made'}")
        entries = {name: known[name] for name in ARCHITECTURES if name in known}
        results.write_bytes(Entries.dump_json(entries, indent=1) + b"\n")
    Console(stderr=True, width=200).print(terminal_table(architectures_table(known)))


if __name__ == "__main__":
    typer.run(main)
