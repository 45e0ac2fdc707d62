"""The project's own benchmarks under pytest-benchmark: what each step of the way to a variant costs.

`make bench` runs them; ``pytest bench/studies/test_suite.py --benchmark-save=NAME`` keeps the figures, and
``pytest-benchmark compare`` sets them side by side, those of ``compress bench --pytest-json`` among them. The run is
the demo's, trained for one epoch: speed does not hang on what was learnt.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from bench.studies.product import exported_run
from compress.data.encode import pad, spread_over_languages
from compress.data.stage import load_data
from compress.errors import CompressError
from compress.models.load import load_tokenizer, model_class
from compress.runs.directory import Run
from compress.runtimes.generation import Search
from compress.runtimes.predict import load_predict
from compress.student.losses import hard_and_soft_loss
from compress.student.summary import STUDENT
from compress.tasks.contract import Encode, Example
from compress.tasks.rows import Row
from compress.teacher.summary import TEACHER
from compress.variants.registry import PLAIN, VARIANTS
from export.onnx.fusion import fuse_graphs
from export.onnx.plain import export_onnx
from export.quantize.int8 import quantize_dynamic_int8

_ROWS, _BATCH = 256, 32
_VARIANTS: tuple[str, ...] = ("onnx-fused", "onnx-int8", "onnx-static", "onnx-int4", "openvino-int8")
_MODELS = (TEACHER.name, STUDENT.name, PLAIN.name, *_VARIANTS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    fields: dict[str, JsonValue] = {
        "teacher.training.epochs": 1,
        "student.training.epochs": 1,
        "export.variants": list(_VARIANTS),
        "export.parity.int8": {"max_difference": 100, "agreement": 0},
        "export.parity.int4": {"max_difference": 100, "agreement": 0},
    }
    return exported_run(tmp_path_factory.mktemp("suite"), fields)


@pytest.fixture(scope="module")
def rows(run: Run) -> list[Row]:
    table = load_data(run).splits["test"]
    return list(table.select(spread_over_languages(table.column("lang"), _ROWS, seed=0)))


@pytest.fixture(scope="module")
def examples(run: Run, rows: list[Row]) -> list[Example]:
    return _encoder(run)(rows)


def _encoder(run: Run) -> Encode:
    return run.task.encoder(load_tokenizer(str(run.path_of(STUDENT.name))), run.recipe.data, load_data(run).labels)


def _batch(run: Run, examples: list[Example]) -> dict[str, NDArray[Any]]:
    return pad(examples[:_BATCH], load_tokenizer(str(run.path_of(STUDENT.name))).pad_token_id)


@pytest.mark.benchmark(group="tokenise 256 rows")
def test_tokenise(benchmark: Any, run: Run, rows: list[Row]) -> None:
    encode = _encoder(run)
    assert len(benchmark(encode, rows)) == _ROWS


@pytest.mark.parametrize("stage", [TEACHER.name, STUDENT.name])
@pytest.mark.benchmark(group="one training step, 32 rows")
def test_step(benchmark: Any, run: Run, examples: list[Example], stage: str) -> None:
    """Forward, loss, backward and AdamW: the teacher's on labels, the student's on labels and the teacher's logits."""
    model = model_class(run.task).from_pretrained(run.path_of(stage)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    inputs = {name: torch.from_numpy(array) for name, array in _batch(run, examples).items()}
    labels = torch.tensor([example["labels"] for example in examples[:_BATCH]])
    wanted = torch.randn(_BATCH, 1, model.config.num_labels)
    alpha = 1.0 if stage == TEACHER.name else run.recipe.student.distillation.alpha

    def step() -> None:
        hard, soft = hard_and_soft_loss(model(**inputs).logits[:, None], labels, wanted, alpha, 2.0)
        optimizer.zero_grad()
        loss: Any = (hard + soft).mean()
        loss.backward()
        optimizer.step()

    benchmark(step)


@pytest.mark.parametrize("name", _MODELS)
@pytest.mark.benchmark(group="one batch, 32 rows, one thread")
def test_variant(benchmark: Any, run: Run, examples: list[Example], name: str) -> None:
    if name in VARIANTS and VARIANTS[name].runtime == "OpenVINO":
        pytest.importorskip("openvino")
    threads = torch.get_num_threads()
    try:
        predict = load_predict(run.path_of(name), run.task, Search.of(run.recipe), threads=1)
        assert benchmark(predict, _batch(run, examples)).shape == (_BATCH, len(load_data(run).labels))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.benchmark(group="export")
def test_export(benchmark: Any, run: Run, tmp_path: Path) -> None:
    """PyTorch to plain ONNX."""
    labels = load_data(run).labels

    def export() -> None:
        export_onnx(run.task, run.path_of(STUDENT.name), _empty(tmp_path / "onnx"), labels)

    benchmark.pedantic(export, rounds=3)
    assert (tmp_path / "onnx/model.onnx").exists()


@pytest.mark.benchmark(group="export")
def test_fuse_and_quantise(benchmark: Any, run: Run, tmp_path: Path) -> None:
    """Plain ONNX to fused operators and int8 by token."""
    from compress.targets import resolve_target

    def quantise() -> None:
        fuse_graphs(run.path_of("onnx"), _empty(tmp_path / "fused"))
        quantize_dynamic_int8(tmp_path / "fused", _empty(tmp_path / "int8"), resolve_target("auto"), by_token=True)

    benchmark.pedantic(quantise, rounds=3)
    assert (tmp_path / "int8/model.onnx").exists()


@pytest.mark.benchmark(group="export")
def test_engine_build(benchmark: Any, run: Run, tmp_path: Path) -> None:
    """A TensorRT engine in fp32, for this GPU or ahead of time."""
    from compress.runtimes.tensorrt import choose_builder
    from export.tensorrt.compile import compile_onnx
    from export.tensorrt.settings import resolved

    try:
        choose_builder()
    except CompressError as error:
        pytest.skip(str(error))
    settings = resolved(run.recipe.export.tensorrt, run.recipe.data.max_length)
    built = benchmark.pedantic(compile_onnx, (run.path_of("onnx") / "model.onnx", tmp_path, settings, "fp32"), rounds=3)
    assert built.bytes > 0


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder
