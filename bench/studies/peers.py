"""Our variants beside other ways to run the same model on this processor: `python -m bench.studies.peers`.

Every contender lives in a process of its own, which is stopped while another one is measured, so that no thread pool
disturbs another. They take turns in rounds. All get the same random weights and tokens; accuracy is how far logits are
from those of PyTorch in 32 bits, as a share of their spread.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from compress.console import progress, quiet_libraries, swallowed_output
from compress.runtimes.onnx import onnx_session
from compress.runtimes.openvino import load_openvino
from compress.targets import resolve_target
from compress.tasks.registry import task_named

Feed = dict[str, np.ndarray]
Model = Callable[[Feed], np.ndarray]

_VOCABULARY, _LABELS = 30_000, 7
_ROUNDS, _SECONDS_A_VISIT, _MOST_RUNS = 5, 0.6, 60
_PEAK_SIZE, _PEAK_RUNS = 2048, 8
_RESAMPLES = 2000


@dataclass(frozen=True)
class EncoderShape:
    """Layers and width of a BERT whose heads are 32 or 64 wide."""

    layers: int
    width: int

    @property
    def name(self) -> str:
        return f"{self.layers}x{self.width}"

    def operations(self, batch: int, length: int) -> float:
        """Multiplications and additions of the layers' matrix products."""
        weights = self.layers * 12 * self.width**2
        attention = self.layers * 2 * length * self.width
        return 2.0 * batch * length * (weights + attention)


@dataclass(frozen=True)
class Cell:
    """One setting that all contenders are measured in."""

    shape: EncoderShape
    threads: int
    batch: int
    length: int


CONTENDERS = {
    "onnx": "fp32",
    "onnx-fused": "fp32",
    "torch.compile": "fp32",
    "OpenVINO fp32": "fp32",
    "onnx-int8": "int8",
    "openvino-int8": "int8",
    "ONNX Runtime default int8": "int8",
    "OpenVINO NNCF int8": "int8",
}
"""Who is measured, and in which precision."""
OURS = ("onnx-fused", "onnx-int8", "openvino-int8")


def compare_peers(shapes: list[EncoderShape], threads: list[int], sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Measure all contenders in all cells.

    :param sizes: Pairs of batch and length.
    :return: ``cells`` (milliseconds with interval, ratio to ours, share of the peak), ``accuracy``, ``peak_gflops``.
    """
    report: dict[str, Any] = {"target": resolve_target("auto").name, "cells": [], "accuracy": {}, "peak_gflops": {}}
    with progress() as bar:
        task = bar.add_task("peers", total=len(shapes) * len(threads) * _ROUNDS)
        for shape in shapes:
            with TemporaryDirectory() as folder:
                _write_models(shape, Path(folder))
                for count in threads:
                    peak = report["peak_gflops"].setdefault(str(count), _in_a_process(_peak, count))
                    cells = [Cell(shape, count, batch, length) for batch, length in sizes]
                    with _started(Path(folder), count) as contenders:
                        report["accuracy"][shape.name] = _accuracy(contenders)
                        samples: dict[Cell, dict[str, list[float]]] = {cell: {} for cell in cells}
                        for _ in range(_ROUNDS):
                            for name, contender in contenders.items():
                                for cell, times in contender.ask(("time", cells)):
                                    samples[cell].setdefault(name, []).extend(times)
                            bar.advance(task)
                    report["cells"] += [_judged(cell, samples[cell], peak) for cell in cells]
    return report


def peer_table(report: dict[str, Any]) -> Table:
    """One row a cell, one column a contender."""
    peaks = ", ".join(f"{value:.0f} with {count}" for count, value in report["peak_gflops"].items())
    title = f"p50 ms (share of the measured fp32 peak), {report['target']}; peak GFLOP/s by threads: {peaks}"
    table = Table(title=title)
    for heading in ("model", "threads", "batch", "length", *CONTENDERS):
        table.add_column(heading, justify="right")
    for cell in report["cells"]:
        figures = cell["contenders"].values()
        table.add_row(
            cell["shape"], str(cell["threads"]), str(cell["batch"]), str(cell["length"]),
            *(f"{figure['p50_ms']:.2f} ({100 * figure['share_of_peak']:.0f} %)" for figure in figures),
        )  # fmt: skip
    return table


def _judged(cell: Cell, samples: dict[str, list[float]], peak: float) -> dict[str, Any]:
    contenders = {}
    for name, precision in CONTENDERS.items():
        median = float(np.median(samples[name]))
        ours = min((own for own in OURS if CONTENDERS[own] == precision), key=lambda own: np.median(samples[own]))
        low, high = _ratio_interval(samples[ours], samples[name])
        contenders[name] = {
            "p50_ms": median,
            "interval_ms": [float(value) for value in np.percentile(_medians(samples[name], 0), [2.5, 97.5])],
            "runs": len(samples[name]),
            "ours_takes": float(np.median(samples[ours])) / median,
            "ours_takes_interval": [low, high],
            "share_of_peak": cell.shape.operations(cell.batch, cell.length) / median / 1e6 / peak,
        }
    return {**asdict(cell), "shape": cell.shape.name, "contenders": contenders}


def _ratio_interval(ours: list[float], peer: list[float]) -> tuple[float, float]:
    low, high = np.percentile(_medians(ours, 1) / _medians(peer, 2), [2.5, 97.5])
    return float(low), float(high)


def _medians(samples: list[float], seed: int) -> np.ndarray:
    """Medians of samples drawn with replacement, float (resamples,)."""
    draws = np.random.default_rng(seed).integers(0, len(samples), (_RESAMPLES, len(samples)))
    return np.median(np.asarray(samples)[draws], axis=1)


class _Contender:
    """A process that holds one model; stopped unless it is asked something."""

    def __init__(self, name: str, folder: Path, threads: int):
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, name, folder, threads), daemon=True)
        self._process.start()
        self._answer()  # it is ready
        self._signal(signal.SIGSTOP)

    def ask(self, question: tuple[str, Any]) -> Any:
        self._signal(signal.SIGCONT)
        self._connection.send(question)
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.join()

    def _answer(self) -> Any:
        return self._connection.recv()

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid or 0, number)


@contextmanager
def _started(folder: Path, threads: int) -> Iterator[dict[str, _Contender]]:
    started: dict[str, _Contender] = {}
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        for name in CONTENDERS:
            started[name] = _Contender(name, folder, threads)
        yield started
    finally:
        for contender in started.values():
            contender.end()


def _serve(connection: Any, name: str, folder: Path, threads: int) -> None:
    quiet_libraries()
    model = _open(name, folder, threads)
    connection.send("ready")
    warm: set[Cell] = set()
    while True:
        what, cells = connection.recv()
        if what == "logits":
            connection.send(np.concatenate([model(_tokens(8, length)) for length in (12, 32, 64)]))
            continue
        found = []
        for cell in cells:
            feed = _tokens(cell.batch, cell.length)
            times: list[float] = []
            for _ in range(1 if cell in warm else 3):
                model(feed)
            warm.add(cell)
            ends = time.monotonic() + _SECONDS_A_VISIT
            while len(times) < 2 or (time.monotonic() < ends and len(times) < _MOST_RUNS):
                started = time.perf_counter_ns()
                model(feed)
                times.append((time.perf_counter_ns() - started) / 1e6)
            found.append((cell, times))
        connection.send(found)


def _open(name: str, folder: Path, threads: int) -> Model:
    if name == "openvino-int8":
        return load_openvino(folder / "openvino", task_named("text-classification"), threads)
    files = {
        "onnx": "plain/model.onnx",
        "onnx-fused": "fused/model.onnx",
        "onnx-int8": "int8/model.onnx",
        "ONNX Runtime default int8": "default-int8.onnx",
        "OpenVINO fp32": "plain/model.onnx",
        "OpenVINO NNCF int8": "nncf.xml",
    }
    if name == "torch.compile":
        return _compiled(folder / "torch", threads)
    if name.startswith("OpenVINO"):
        import openvino

        # Not in bf16, which OpenVINO takes by itself where the processor has it: accuracy is to be that of the file.
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(folder / files[name], "CPU", settings)
        request = compiled.create_infer_request()
        return lambda feed: request.infer(feed)[0].copy()
    session = onnx_session(folder / files[name], threads)
    return lambda feed: session.run(["logits"], feed)[0]


def _compiled(folder: Path, threads: int) -> Model:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    model = torch.compile(AutoModelForSequenceClassification.from_pretrained(folder).eval(), dynamic=False)

    def predict(feed: Feed) -> np.ndarray:
        with torch.inference_mode():
            return model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()

    return predict


def _tokens(batch: int, length: int) -> Feed:
    tokens = np.random.default_rng(length).integers(5, _VOCABULARY, (batch, length))
    zeros = np.zeros_like(tokens)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": zeros}


def _write_models(shape: EncoderShape, folder: Path) -> None:
    """The same weights for all: PyTorch, plain ONNX, our variants, and those of the peers."""
    import nncf
    import openvino
    import torch
    from onnxruntime.quantization import quantize_dynamic
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    from export.onnx.fusion import fuse_graphs
    from export.onnx.plain import export_onnx
    from export.quantize.int8 import quantize_dynamic_int8
    from export.quantize.openvino import convert_openvino_int8

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_VOCABULARY,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=12,
        intermediate_size=4 * shape.width,
        initializer_range=0.05,
    )
    config.num_labels = _LABELS
    BertForSequenceClassification(config).eval().save_pretrained(folder / "torch")
    names = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=_any_tokenizer(),
        model_input_names=names,
        pad_token="[PAD]",  # noqa: S106
    ).save_pretrained(folder / "torch")
    for name in ("plain", "fused", "int8", "openvino"):
        (folder / name).mkdir()
    export_onnx(task_named("text-classification"), folder / "torch", folder / "plain", [])
    fuse_graphs(folder / "plain", folder / "fused")
    target, feeds = resolve_target("auto"), [_tokens(1, length) for length in range(8, 72)]
    quantize_dynamic_int8(folder / "fused", folder / "int8", target)
    convert_openvino_int8(folder / "fused", folder / "openvino", target, {"model.onnx": feeds}, "minmax")
    with swallowed_output():
        quantize_dynamic(folder / "plain/model.onnx", folder / "default-int8.onnx")
        plain = openvino.Core().read_model(folder / "plain/model.onnx")
        quantised = nncf.quantize(plain, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=64)
        openvino.save_model(quantised, folder / "nncf.xml", compress_to_fp16=False)


def _any_tokenizer() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106


def _accuracy(contenders: dict[str, _Contender]) -> dict[str, float]:
    """For each contender the root mean square of its error, as a share of the spread of the logits."""
    logits = {name: contender.ask(("logits", None)) for name, contender in contenders.items()}
    exact = logits["torch.compile"]
    spread = float(exact.std(axis=0).mean())
    return {name: float(np.sqrt(np.mean((found - exact) ** 2))) / spread for name, found in logits.items()}


def _peak(threads: int) -> float:
    """GFLOP/s of a large product of matrices in 32 bits, the best of NumPy's and PyTorch's."""
    import torch

    torch.set_num_threads(threads)
    one = np.random.default_rng(0).standard_normal((_PEAK_SIZE, _PEAK_SIZE), dtype=np.float32)
    tensor = torch.from_numpy(one)
    best = 0.0
    for multiply in (lambda: one @ one, lambda: tensor @ tensor):
        for _ in range(_PEAK_RUNS):
            started = time.perf_counter()
            multiply()
            best = max(best, 2 * _PEAK_SIZE**3 / (time.perf_counter() - started) / 1e9)
    return best


def _in_a_process(function: Callable[[int], float], threads: int) -> float:
    """Call it where the libraries see this number of threads from the start."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (threads,))


def main() -> None:
    """Measure student and teacher shapes; JSON on standard output, a table on standard error."""
    quiet_libraries()
    sizes = [(batch, length) for batch in (1, 8) for length in (32, 128)]
    report = compare_peers([EncoderShape(6, 384), EncoderShape(12, 768)], [1, 2], sizes)
    print(json.dumps(report))
    Console(width=220, stderr=True).print(peer_table(report))


if __name__ == "__main__":
    main()
