"""ONNX Runtime, as our processes open it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_encoders

from compress.errors import CompressError
from compress.runtimes.onnx import load_onnx
from compress.tasks.registry import task_named

OPENS = """
import sys
{first}
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
CLIENTS = Path(__file__).parents[3] / "export/bundle/contents/files"


def client_script_up_to_its_session(name: str) -> str:
    lines = (CLIENTS / name).read_text("utf-8").splitlines()
    return "\n".join(lines[: lines.index("import onnxruntime")])


@pytest.mark.parametrize(
    "first",
    [
        "import compress",
        client_script_up_to_its_session("text_classification.py"),
        client_script_up_to_its_session("translation.py"),
    ],
    ids=["ours", "client of texts", "client of translation"],
)
def test_onnx_runtime_reports_nothing_to_its_makers(first: str, tmp_path: Path):
    graph = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    environment = {name: text for name, text in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = tmp_path / "home"
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    subprocess.run([sys.executable, "-c", OPENS.format(first=first), str(graph)], env=environment, check=True)
    # What it reports is kept until it is sent, under a number of this machine.
    assert not any(home.rglob("deviceid"))


def test_what_cannot_be_run_is_refused_in_one_line(tmp_path: Path):
    graph = small_encoders.write_onnx("bert", tmp_path / "model.onnx")
    model = onnx.load(graph)
    next(node for node in model.graph.node if node.op_type == "MatMul").op_type = "Mul"
    onnx.save(model, graph)
    predict = load_onnx(graph, task_named("text-classification"))
    tokens = np.ones((2, 4), np.int64)
    with pytest.raises(CompressError, match=r"^.+/model.onnx: ONNX Runtime cannot run it \(.+ running Mul node.*\)$"):
        predict({"input_ids": tokens, "attention_mask": tokens})
