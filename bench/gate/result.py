"""What a check finds, as it is written and returned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from bench.gate.judgement import Finding, Limits
from compress.contract import Contract
from compress.metrics.figures import Verdict
from compress.reports.bench import MachineFacts
from compress.runs.manifest import Stage


class CheckReport(Contract):
    """The result of a check, as it is written to ``check.json``."""

    version: Literal[3] = Field(3, alias="schema")
    run: str
    baseline: str
    interleaved: bool = Field(description="whether the baseline's files were run beside; else times are scaled")
    method: str = Field(description="the same in words")
    verdict: Verdict
    limits: Limits
    overrides: dict[str, JsonValue] = Field(description="recipe fields that held for this check alone, by path")
    rounds: int
    machine: MachineFacts
    compared: list[str]
    left_out: list[str]
    findings: list[Finding]
    cells: dict[Verdict, int] = Field(
        default_factory=dict,
        description="how many labels in a language have which verdict; those that fail are among the findings, the "
        "others have no say: few languages have rows enough of each label",
    )


class CheckSummary(Contract):
    """What the check stage returns."""

    verdict: Verdict


CHECK = Stage("check", CheckSummary)
