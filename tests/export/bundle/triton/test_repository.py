"""How models are served by what was measured, by a report written here."""

from __future__ import annotations

from pathlib import Path

from small_bundles import bundled
from small_reports import small_model, small_report

from export.bundle.triton.repository import serving_of

MODEL = bundled("onnx-int8-text", "onnx-int8", target="cpu-vnni")


def test_what_was_measured_decides(tmp_path: Path):
    report = small_report(("onnx-int8", small_model("onnx-int8", {"8": 4.0, "1": 2.0})))
    serving = serving_of(MODEL, "onnx-int8", report, tmp_path)
    assert (serving.largest_batch, serving.row_ms, serving.threads) == (8, 2.0, 2)
    assert serving.rates == {1: 500.0, 8: 2000.0}
    assert serving.preferred_batches == [8]
    assert (serving.name, serving.file, serving.on_gpu) == ("onnx-int8-text", "model.onnx", False)


def test_what_was_measured_elsewhere_or_not_at_all_does_not(tmp_path: Path):
    elsewhere = small_report(("onnx-int8", small_model("onnx-int8", made_for_another_target=True)))
    measured = small_report(("onnx-int8", small_model("onnx-int8")))
    changed = MODEL.model_copy(update={"measured": False})
    for model, report in ((MODEL, None), (MODEL, elsewhere), (MODEL, small_report()), (changed, measured)):
        serving = serving_of(model, "onnx-int8", report, tmp_path)
        assert (serving.largest_batch, serving.rates, serving.row_ms, serving.threads) == (8, {}, None, None)
