"""Resident memory of a process that is asked about texts of all lengths: ``python -m bench.studies.memory_by_shape``.

Two encoders with random weights, of a student's size and of 12 × 384, are asked about texts of 1 to 512 tokens, one at
a time and in batches of up to eight, after one batch of the longest. Each way of holding memory runs in a process of
its own: ``product`` is how `compress.load` opens a model, the others change one setting each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil

from bench.studies.large_models import WEIGHTS, ModelShape, make_form, write_model
from compress.machine import cpu_features
from compress.runtimes.onnx import onnx_session
from compress.runtimes.openvino import load_openvino
from compress.subprocesses import module_command, module_environment

_SHAPES = (ModelShape("4 × 256", 4, 256, 30_000), ModelShape("12 × 384", 12, 384, 30_000))
_FORMS = ("onnx", "onnx-fused", "onnx-int8", "openvino-int8")
_LONGEST, _TEXTS, _SHOWN = 512, 5_000, (50, 500, 2_500)

Feed = dict[str, np.ndarray]
Run = Callable[[Feed], object]


def _onnx(**settings: object) -> Callable[[Path, ModelShape], Run]:
    """ONNX Runtime with its own settings but for those that are named."""

    def opened(folder: Path, shape: ModelShape) -> Run:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        for name, value in settings.items():
            if name != "shrinks":
                setattr(options, name, value)
        run = onnxruntime.RunOptions()
        if settings.get("shrinks"):
            run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed, run)

    return opened


def _product_onnx(folder: Path, shape: ModelShape) -> Run:
    session = onnx_session(folder / "model.onnx", 1)
    return lambda feed: session.run(None, feed)


def _openvino(folder: Path, shape: ModelShape) -> Run:
    """OpenVINO with its own settings."""
    import openvino

    settings: Mapping[str, Any] = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", settings).create_infer_request()
    return lambda feed: request.infer(feed)


def _product_openvino(folder: Path, shape: ModelShape) -> Run:
    return load_openvino(folder, shape.task, 1)


WAYS: Mapping[str, Callable[[Path, ModelShape], Run]] = {
    "product": _product_onnx,
    "default": _onnx(),
    "no arena": _onnx(enable_cpu_mem_arena=False),
    "no arena, no patterns": _onnx(enable_cpu_mem_arena=False, enable_mem_pattern=False),
    "arena shrinks": _onnx(shrinks=True),
}
"""How ONNX Runtime holds memory, and what opens a graph so."""
WAYS_OF_OPENVINO = {"product": _product_openvino, "default": _openvino}
"""The same of OpenVINO."""


def resident_by_texts(run: Run, vocabulary: int, rows: int, texts: int) -> Iterator[tuple[int, int]]:
    """How many texts were asked about, and this process's resident memory then, in bytes.

    :param run: Runs the model on ``input_ids`` and ``attention_mask``, int64 (rows, tokens).
    :param vocabulary: Numbers of tokens end before it.
    :param rows: Of a batch, at most.
    """
    generator, process = np.random.default_rng(0), psutil.Process()

    def ask(count: int, length: int) -> None:
        tokens = generator.integers(5, vocabulary, (count, length))
        run({"input_ids": tokens, "attention_mask": np.ones_like(tokens)})

    ask(rows, _LONGEST)
    asked, waiting = 0, [0, *_SHOWN, texts]
    while waiting:
        if asked >= waiting[0]:
            yield waiting.pop(0), process.memory_info().rss
            continue
        count = int(generator.integers(1, rows + 1))
        ask(count, int(generator.integers(1, _LONGEST + 1)))
        asked += count


def _study(form: str, shape: ModelShape, root: Path) -> None:
    """Print a line of the table for each way and size of batch."""
    for way in WAYS_OF_OPENVINO if form.startswith("openvino") else WAYS:
        for rows in (1, 8):
            words = ("bench.studies.memory_by_shape", shape.name, form, way, str(rows), str(root))
            done = subprocess.run(  # noqa: S603
                module_command(*words), stdout=subprocess.PIPE, text=True, check=True, env=module_environment()
            )
            print(f"| {shape.name} | `{form}` | {way} | {rows} | {done.stdout.strip()} |", flush=True)


def main() -> None:
    """Measure one way where it is named; else make the models, and measure all."""
    if len(sys.argv) > 1:
        name, form, way, rows, root = sys.argv[1:]
        shape = next(found for found in _SHAPES if found.name == name)
        ways = WAYS_OF_OPENVINO if form.startswith("openvino") else WAYS
        run = ways[way](Path(root) / form, shape)
        told = resident_by_texts(run, shape.tokens, int(rows), _TEXTS)
        print(" | ".join(f"{resident / 1e6:.0f}" for _, resident in told))
        return
    print(
        f"{cpu_features().cpu_name}, one thread; resident memory in MB after so many texts of 1 to {_LONGEST} tokens\n"
    )
    columns = ["model", "form", "way", "rows", "longest batch", *(f"{count:,}" for count in (*_SHOWN, _TEXTS))]
    print(f"| {' | '.join(columns)} |\n|---|---|---|{'--:|' * (len(columns) - 3)}")
    for shape in _SHAPES:
        with TemporaryDirectory() as root:
            (Path(root) / WEIGHTS).mkdir()
            write_model(shape, Path(root) / WEIGHTS)
            for form in _FORMS:
                make_form(shape, form, Path(root))
                if form != "onnx":
                    _study(form, shape, Path(root))


if __name__ == "__main__":
    main()
