"""The figures of the comparison with peers; measuring itself is for `make bench`."""

import numpy as np
import pytest

from bench.studies import peer_models
from bench.studies.peer_models import CONTENDERS, EncoderShape, contenders_here, ours_like, precision_here
from bench.studies.peers import JudgedCell, PeerCell, PeerReport, judged_cell, peer_tables
from compress.targets import TARGETS

ERRORS = {"fp32": 1e-7, "bf16": 0.02, "int8": 0.2}


@pytest.fixture
def samples() -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    milliseconds = {"onnx": 10.0, "onnx-fused": 8.0, "onnx-int8": 4.0, "onnx-static": 5.5, "openvino-int8": 5.0}
    milliseconds |= {"OpenVINO NNCF int8 f32": 3.0, "openvino-bf16": 6.0}
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
    errors = {name: ERRORS[CONTENDERS[name]] for name in samples}
    return judged_cell(cell, samples, errors, peak=100.0)


def test_peers_are_judged_against_the_fastest_of_ours_in_their_precision(samples: dict[str, list[float]]):
    found = judged(samples).contenders
    assert found["onnx"].ours_takes == pytest.approx(0.8, abs=0.02)
    low, high = found["OpenVINO NNCF int8 f32"].ours_takes_interval
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
    report = PeerReport(processor="a processor", target="cpu-vnni", peak_gflops={1: 100.0, 2: 200.0}, cells=cells)
    (table,) = peer_tables(report)
    assert table.row_count == len(CONTENDERS)
    assert [column.header for column in table.columns] == ["contender", "error", "1, 1x32", "2, 1x32"]
    assert {name: cell.endswith("*") for name, cell in zip(CONTENDERS, table.columns[2].cells, strict=True)} == {
        name: name in ("onnx-fused", "openvino-bf16", "OpenVINO NNCF int8 f32") for name in CONTENDERS
    }


def test_nobody_faster_is_as_accurate_as_who_is_unbeaten(samples: dict[str, list[float]]):
    cell = PeerCell(shape=EncoderShape(6, 384), threads=1, batch=1, length=32)
    exact = dict.fromkeys(samples, 1e-7)
    unbeaten = {
        name for name, figures in judged_cell(cell, samples, exact, 100.0).contenders.items() if figures.unbeaten
    }
    assert unbeaten == {"OpenVINO NNCF int8 f32"}  # the fastest, were it exact
    errors = exact | {"OpenVINO NNCF int8 f32": 0.5, "onnx-int8": 0.1}
    found = judged_cell(cell, samples, errors, 100.0).contenders
    assert {name for name, figures in found.items() if figures.unbeaten} == {
        "OpenVINO NNCF int8 f32", "onnx-int8", "openvino-int8",
    }  # fmt: skip


def test_without_bf16_or_a_compiler_the_others_are_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compress.targets.target_of", lambda _: TARGETS["cpu-vnni"])
    monkeypatch.setattr(peer_models, "_has_compiler", lambda: False)
    names = contenders_here()
    assert set(CONTENDERS) - set(names) == {"openvino-bf16", "torch.compile", "torch.compile bf16"}
    assert precision_here("OpenVINO as it comes") == "fp32"
    assert ours_like("OpenVINO as it comes", names) == ours_like("PyTorch bf16", names) == ["onnx-fused"]
    assert ours_like("OpenVINO NNCF int8 as it comes", names) == ["onnx-int8", "onnx-static", "openvino-int8"]
    monkeypatch.setattr("compress.targets.target_of", lambda _: TARGETS["cpu-amx"])
    monkeypatch.setattr(peer_models, "_has_compiler", lambda: True)
    assert contenders_here() == list(CONTENDERS)
    assert ours_like("OpenVINO as it comes", contenders_here()) == ["openvino-bf16"]
