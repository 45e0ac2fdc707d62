"""The figures of the comparison with peers; measuring itself is for `make bench`."""

import numpy as np
import pytest

from bench.studies.peer_models import CONTENDERS, OURS, EncoderShape
from bench.studies.peers import JudgedCell, PeerCell, PeerReport, judged_cell, peer_table


@pytest.fixture
def samples() -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    milliseconds = {"onnx": 10.0, "onnx-fused": 8.0, "onnx-int8": 4.0, "openvino-int8": 5.0, "OpenVINO NNCF int8": 3.0}
    return {
        name: (milliseconds.get(name, 9.0) * generator.normal(1, 0.02, 60)).tolist() for name in CONTENDERS
    }  # two per cent of noise


def test_operations_are_those_of_the_matrix_products():
    # One layer of width 4 over 3 tokens: four projections, two of the feed-forward, and attention.
    weights = 3 * (4 * 4 * 4 + 2 * 4 * 16)
    attention = 2 * 3 * 3 * 4
    assert EncoderShape(1, 4).operations(batch=1, length=3) == 2 * (weights + attention)


def judged(samples: dict[str, list[float]], threads: int = 1, batch: int = 1, length: int = 32) -> JudgedCell:
    cell = PeerCell(shape=EncoderShape(6, 384), threads=threads, batch=batch, length=length)
    return judged_cell(cell, samples, peak=100.0)


def test_peers_are_judged_against_the_fastest_of_ours_in_their_precision(samples: dict[str, list[float]]):
    found = judged(samples).contenders
    assert found["onnx"].ours_takes == pytest.approx(0.8, abs=0.02)
    low, high = found["OpenVINO NNCF int8"].ours_takes_interval
    assert 1.25 < low < 4 / 3 < high < 1.42
    assert found["onnx-int8"].ours_takes == 1  # the faster one of ours
    assert found["openvino-int8"].ours_takes == pytest.approx(0.8, abs=0.02)
    low, high = found["onnx"].interval_ms
    assert low < found["onnx"].p50_ms < high


def test_the_share_of_the_peak_is_operations_over_time(samples: dict[str, list[float]]):
    found = judged(samples, batch=8, length=128).contenders["onnx"]
    gflops = EncoderShape(6, 384).operations(8, 128) / 1e9 / (found.p50_ms / 1e3)
    assert found.share_of_peak == pytest.approx(gflops / 100)


def test_the_table_has_a_row_for_every_cell(samples: dict[str, list[float]]):
    cells = [judged(samples, threads) for threads in (1, 2)]
    table = peer_table(PeerReport(target="cpu-vnni", peak_gflops={1: 100.0, 2: 200.0}, cells=cells, accuracy={}))
    assert table.row_count == 2
    assert {"onnx-fused", "onnx-int8", "openvino-int8"} == set(OURS) <= {column.header for column in table.columns}
