"""Goal: nobody who is as accurate runs the same model faster on this processor."""

from __future__ import annotations

import pytest
from rich.console import Console

from bench.studies.peer_models import CONTENDERS, OURS, EncoderShape
from bench.studies.peers import PeerReport, compare_peers, peer_table

_TOLERATED = 1.10  # what OpenVINO gains in single cells; the README says where


@pytest.fixture(scope="module")
def report() -> PeerReport:
    sizes = [(batch, length) for batch in (1, 8) for length in (32, 128)]
    found = compare_peers([EncoderShape(6, 384), EncoderShape(12, 768)], [1, 2], sizes)
    Console(width=220, stderr=True).print(peer_table(found))
    return found


@pytest.mark.parametrize("peer", [name for name in CONTENDERS if name not in OURS])
def test_no_peer_is_faster_at_equal_accuracy(peer: str, report: PeerReport) -> None:
    for cell in report.cells:
        errors = report.accuracy[cell.shape.name]
        ours = min(errors[name] for name in OURS if CONTENDERS[name] == CONTENDERS[peer])
        if errors[peer] <= 1.1 * ours + 1e-5:
            assert cell.contenders[peer].ours_takes_interval[0] < _TOLERATED, cell
