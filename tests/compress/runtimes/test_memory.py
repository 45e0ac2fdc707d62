"""One long row: what a model takes for it, told before it is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_encoders
import transformers

from compress import memory
from compress.errors import CompressError
from compress.runtimes.memory import check_row, row_bytes, tell_of_rows
from compress.tasks.registry import task_named

TASK = task_named("text-classification")
_MEASURED = {  # megabytes beyond those of a short row, as a process held them, by architecture, attention and tokens
    ("bert", "sdpa"): (36, 54, 116),
    ("bert", "plain"): (131, 445, 1690),
    ("bert", "graph"): (173, 489, 1946),
    ("bert", "fused"): (75, 277, 1007),
    ("deberta-v2", "plain"): (354, 1186, 4657),
    ("deberta-v2", "graph"): (611, 2239, 8971),
}
_SHAPE = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
_CONFIGS = {
    "bert": transformers.BertConfig(**_SHAPE),
    "deberta-v2": transformers.DebertaV2Config(**_SHAPE, relative_attention=True),
}


@pytest.mark.parametrize(("name", "attention"), _MEASURED)
def test_the_estimate_is_hardly_more_than_what_was_measured_and_not_much_less(name: str, attention: str):
    for tokens, megabytes in zip((1024, 2048, 4096), _MEASURED[name, attention], strict=True):
        estimate = row_bytes(_CONFIGS[name], tokens, attention) / 1e6
        assert 0.5 * megabytes < estimate < 1.15 * megabytes


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, "compress.runtimes.memory"):
        monkeypatch.setattr(f"{getattr(module, '__name__', module)}.free_memory", lambda: 200_000_000)


def written(folder: Path, name: str, **changes: int) -> Path:
    config = small_encoders.CONFIGS[name]()
    config.update(changes)
    config.architectures = ["any"]
    config.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.usefixtures("little_memory")
def test_a_row_that_memory_does_not_hold_is_refused_where_all_scores_are_held(tmp_path: Path):
    model = written(tmp_path / "plain", "deberta-v2", relative_attention=True)
    with pytest.raises(CompressError, match=r"one row of 2,048 tokens takes at least 0\.3 GB .*lower data\.max_length"):
        check_row(model, TASK, 2048)
    check_row(model, TASK, 1024)
    with pytest.raises(CompressError, match=r"3 rows of 1,024 tokens take at least 0\.3 GB"):
        check_row(model, TASK, 1024, rows=3)
    check_row(written(tmp_path / "sdpa", "bert"), TASK, 2048)


@pytest.mark.usefixtures("little_memory")
def test_a_graph_holds_scores_but_a_fused_one_holds_fewer(tmp_path: Path):
    for name, fused in (("plain", False), ("fused", True)):
        folder = written(tmp_path / name, "bert")
        small_encoders.write_onnx("bert", folder / "model.onnx")
        if fused:
            from export.onnx.fusion import fuse_graphs

            (tmp_path / "made").mkdir()
            fuse_graphs(folder, tmp_path / "made")
            check_row(tmp_path / "made", TASK, 3000)
        else:
            with pytest.raises(CompressError, match="one row of 3,000 tokens takes at least 0"):
                check_row(folder, TASK, 3000)


@pytest.mark.usefixtures("little_memory")
def test_what_graphs_will_take_is_said_before_a_training(capsys: pytest.CaptureFixture[str]):
    tell_of_rows(_CONFIGS["bert"], 512)
    assert not capsys.readouterr().err
    tell_of_rows(_CONFIGS["bert"], 8192)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "a graph will take at least 6.6 GB of memory for one row of 8,192 tokens (data.max_length), 0.2 GB are" in said
    )
