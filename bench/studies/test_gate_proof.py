"""The gate beside a busy neighbour: no false alarms, what is planted is found; `bench.studies.gate_proof` in short."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.report.text import terminal_table
from bench.studies.gate_proof import proof_table, prove
from bench.studies.product import exported_run
from compress.console import quiet_libraries
from compress.metrics.figures import Verdict

_CHECKS = 10
Proof = dict[str, dict[Verdict, int]]


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Proof:
    quiet_libraries()
    entries = prove(exported_run(tmp_path_factory.mktemp("proof"), {}), _CHECKS, slower=1.15)
    Console(width=160, stderr=True).print(terminal_table(proof_table(entries)))
    return {entry.what: entry.verdicts for entry in entries}


def test_identical_code_never_fails(proof: Proof) -> None:
    for what in ("identical code, files at hand", "identical code, scaled"):
        assert "fail" not in proof[what]
    assert proof["identical code, files at hand"] == {"pass": _CHECKS}


def test_what_is_planted_is_found(proof: Proof) -> None:
    assert proof["15 % slower, files at hand"] == {"fail": _CHECKS // 2}
    rows = max(int(what.split()[-4].replace(",", "")) for what in proof if "points" in what)
    assert proof[f"2 points lost in one language, limit 1, {rows:,} rows a language"] == {"fail": _CHECKS}
