"""ONNX Runtime, as our processes open it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_encoders

from compress import control_groups
from compress.errors import CompressError
from compress.runtimes.onnx import load_onnx, onnx_session
from compress.tasks.registry import TaskName, task_named
from export.bundle.contents.client import client_script

OPENS = """
import sys
{first}
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


def client_script_up_to_its_session(task: TaskName) -> str:
    lines = client_script(task, plain=True).splitlines()
    return "\n".join(lines[: lines.index("import onnxruntime")])


@pytest.mark.parametrize(
    "first",
    [
        "import compress",
        client_script_up_to_its_session("text-classification"),
        client_script_up_to_its_session("translation"),
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


def test_a_session_keeps_no_plans_of_the_shapes_it_has_seen(tmp_path: Path):
    options = onnx_session(small_encoders.write_onnx("bert", tmp_path / "model.onnx"), 1).get_session_options()
    assert not options.enable_mem_pattern


def test_under_a_quota_as_many_threads_as_it_grants_wait_without_spinning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "cpu.max").write_text("50000 100000")
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path)
    options = onnx_session(small_encoders.write_onnx("bert", tmp_path / "model.onnx")).get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
