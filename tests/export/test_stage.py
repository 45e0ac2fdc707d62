"""What `compress export` leaves behind, read with other people's tools."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from compress.errors import CompressError
from compress.recipe.export import Tolerance
from compress.recipe.file import load_recipe
from compress.runs.directory import find_run, keep_recipe
from compress.tasks import text_classification
from export.stage import explain_engines, run_export_stages
from export.variants.parity import Answers, check_parity, measure_parity

PARENTS = {"onnx": "student", "onnx-fused": "onnx", "onnx-int8": "onnx-fused", "onnx-fp16": "onnx"}
TEXTS = ["12. März 1999", "3,50 €", "午後3時", "57 %"]


def run_onnx(folder: Path, texts: list[str]) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(["logits"], dict(tokenizer(texts, padding=True, return_tensors="np")))[0]


def test_onnx_gives_the_student_s_logits(finished_run: Path):
    student = AutoModelForSequenceClassification.from_pretrained(finished_run / "student").eval()
    inputs = AutoTokenizer.from_pretrained(finished_run / "student")(TEXTS, padding=True, return_tensors="pt")
    expected = student(**inputs).logits.detach().numpy()
    assert np.abs(run_onnx(finished_run / "onnx", TEXTS) - expected).max() < 1e-4


def test_batch_and_length_are_dynamic(finished_run: Path):
    model = onnx.load(finished_run / "onnx/model.onnx")
    onnx.checker.check_model(model)
    for value in model.graph.input:
        dimensions = [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
        assert dimensions == ["batch_size", "sequence_length"]
    single = run_onnx(finished_run / "onnx", TEXTS[3:])
    together = run_onnx(finished_run / "onnx", TEXTS)
    assert np.allclose(single[0], together[3], atol=1e-4)


def test_int8_is_smaller_and_close(finished_run: Path):
    sizes = {name: (finished_run / name / "model.onnx").stat().st_size for name in ("onnx", "onnx-int8")}
    assert sizes["onnx-int8"] < 0.6 * sizes["onnx"]
    operators = {node.op_type for node in onnx.load(finished_run / "onnx-int8/model.onnx").graph.node}
    assert "MatMulIntegerToFloat" in operators
    difference = np.abs(run_onnx(finished_run / "onnx-int8", TEXTS) - run_onnx(finished_run / "onnx", TEXTS))
    assert 0 < difference.max() < 2


def test_parity_is_recorded_for_every_variant(finished_run: Path):
    stages = json.loads((finished_run / "manifest.json").read_text())["stages"]
    for name, parent in PARENTS.items():
        summary = stages[name]["summary"]
        assert summary["parent"] == parent
        assert summary["parity"]["rows"] == 60
        assert summary["parity"]["agreement"] > 0.9
        largest = summary["parity"]["largest_value"]
        assert 1 < largest < 1000 if name == "onnx-fp16" else largest is None  # a CPU does not see it overflow
        assert {"config.json", "tokenizer.json", "model.onnx"} <= {
            path.name for path in (finished_run / name).iterdir()
        }


def test_a_variant_beyond_tolerance_fails_the_stage(finished_run: Path, tmp_path: Path, compress_command):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--set", "export.parity.int8={max_difference: 0.000001, agreement: 1.0}")
    assert done.returncode == 2
    assert "error: onnx-int8: too far from onnx-fused on 60 rows: outputs differ by up to" in done.stderr
    assert "Traceback" not in done.stderr
    assert (run / "onnx-int8/model.onnx").exists()  # the accepted one is still there
    assert (run / "recipe.yaml").read_bytes() == (finished_run / "recipe.yaml").read_bytes()


def test_graphs_of_an_old_opset_are_all_of_it(finished_run: Path, tmp_path: Path, compress_command):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    done = compress_command("export", run, "--set", "export.opset=18", "--set", "export.variants=[onnx-int8]")
    assert done.returncode == 0, done.stderr
    assert "onnx-fused: attention is one operator from opset 23 on: in 18 it stays as it is" in done.stderr
    for name in ("onnx", "onnx-fused", "onnx-int8"):
        model = onnx.load(run / name / "model.onnx")
        assert {opset.domain: opset.version for opset in model.opset_import}[""] == 18
        assert model.ir_version == 8
    assert np.abs(run_onnx(run / "onnx-fused", TEXTS) - run_onnx(finished_run / "onnx", TEXTS)).max() < 1e-4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"export.budget.points": 1, "export.target": "cuda-sm89"}, r"--budget: the search times every form"),
        ({"export.tensorrt.enabled": True, "export.tensorrt.sm": [42]}, r"--sm 42: .* builds for"),
    ],
)
def test_what_is_refused_does_not_change_the_run_s_recipe(finished_run: Path, overrides: dict, message: str):
    before = (finished_run / "recipe.yaml").read_bytes()
    with pytest.raises(CompressError, match=message):
        run_export_stages(find_run(finished_run, finished_run.parent, overrides))
    assert (finished_run / "recipe.yaml").read_bytes() == before


def test_what_is_made_becomes_the_run_s_recipe(finished_run: Path, tmp_path: Path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    explained = explain_engines(find_run(folder, tmp_path, {"export.tensorrt.precisions": ["fp32"]}))
    assert list(explained) == ["onnx/model.onnx"]
    assert load_recipe(folder / "recipe.yaml").export.tensorrt.precisions == ["fp32"]
    with pytest.raises(CompressError, match=r"--sm 12: .* builds for"):
        explain_engines(find_run(folder, tmp_path, {"export.tensorrt.sm": [12]}))
    assert load_recipe(folder / "recipe.yaml").export.tensorrt.sm is None
    keep_recipe(find_run(folder, tmp_path, {"export.tensorrt.precisions": ["fp16"]}))
    variants = run_export_stages(find_run(folder, tmp_path, {"export.variants": ["onnx-int4"]})).variants
    assert list(variants) == ["onnx", "onnx-fused", "onnx-fp16", "onnx-int4", "tensorrt-fp16"]
    assert variants["onnx-int4"].weights == "4 bit in blocks of 32, embeddings 8 bit per token"
    assert load_recipe(folder / "recipe.yaml").export.variants == ["onnx-int4"]


def test_parity_measures_difference_and_agreement():
    parent = Answers([np.array([1.0, 2.0]), np.array([3.0, 0.0])], ["b", "a"])
    parity = measure_parity(
        text_classification, parent, Answers([np.array([1.5, 1.0]), np.array([3.0, 0.0])], ["a", "a"])
    )
    assert parity.model_dump(exclude_none=True) == {
        "rows": 2, "max_difference": 1.0, "mean_difference": 0.375, "agreement": 0.5, "labels": {}
    }  # fmt: skip
    with pytest.raises(CompressError, match=r"outputs differ by up to 1 \(limit 0.5\) and 50.00 % of the predictions"):
        check_parity("variant", "parent", parity, Tolerance(max_difference=0.5, agreement=0.9))


def test_not_a_number_is_never_accepted():
    parity = measure_parity(
        text_classification, Answers([np.array([1.0, 0.0])], ["a"]), Answers([np.array([np.nan, 0.0])], ["a"])
    )
    with pytest.raises(CompressError, match=r"outputs differ by up to nan"):
        check_parity("variant", "parent", parity, Tolerance(max_difference=100, agreement=0))


def test_a_rare_label_that_is_lost_is_no_parity():
    """98.9 % of the predictions agree, and a label of 1 % is never predicted any more."""
    before = ["rare"] * 5 + ["good"] * 495
    outputs = [np.array([1.0, 0.0])] * 500
    parity = measure_parity(
        text_classification, Answers(outputs, before, labelled=True), Answers(outputs, ["good"] * 500, labelled=True)
    )
    assert parity.agreement == 0.99
    assert (parity.labels["rare"].rows, parity.labels["rare"].agreement) == (5, 0)
    with pytest.raises(CompressError, match=r"where onnx-fused predicts 'rare' \(5 rows\), 0.0 % agree"):
        check_parity("onnx-int8", "onnx-fused", parity, Tolerance(max_difference=2, agreement=0.97))
    # One of five is chance.
    one = measure_parity(
        text_classification,
        Answers(outputs, before, labelled=True),
        Answers(outputs, ["good", *before[1:]], labelled=True),
    )
    check_parity("onnx-int8", "onnx-fused", one, Tolerance(max_difference=2, agreement=0.97))
