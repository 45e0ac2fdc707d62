"""What it takes to make every form of a large model: seconds, memory, and bytes on disk.

``python -m bench.studies.large_models`` (part of `make bench`): encoders of the shapes of XLM-R base and large and
translators of M2M100's and NLLB's, all with random weights. Each form is made in a process of its own, whose peak
memory is that of all it had mapped: a limit that leaves room for the libraries, not for copies of the model.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from compress.machine import cpu_features
from compress.subprocesses import module_command, module_environment
from compress.targets import TARGETS, resolve_target
from compress.tasks.contract import Task
from compress.tasks.registry import task_named
from export.onnx.graphs import graph_bytes

if TYPE_CHECKING:
    from export.quantize.ranges import Calibrate

_LABELS, _CALIBRATION_BATCH = 7, 8
WEIGHTS = "model"
"""Folder of the model that all forms are made of."""


@dataclass(frozen=True)
class ModelShape:
    """A model by the sizes of its configuration."""

    name: str
    layers: int
    width: int
    tokens: int
    translates: bool = False
    calibration_rows: int = 64
    calibration_tokens: int = 128

    @property
    def task(self) -> Task:
        """What the model is for."""
        return task_named("translation" if self.translates else "text-classification")


SHAPES = {
    shape.name: shape
    for shape in (
        ModelShape("XLM-R base", 12, 768, 250_002),
        ModelShape("XLM-R large", 24, 1024, 250_002),
        ModelShape("M2M100 418M", 12, 1024, 128_112, translates=True),
        ModelShape("NLLB 600M", 12, 1024, 256_206, translates=True),
    )
}
"""The shapes that are measured."""

MANY_ROWS = ModelShape("student, calibrated on 5,000 rows of 512 tokens", 3, 192, 40_000, False, 5_000, 512)
"""A small model, static forms of which have seen much."""


@dataclass(frozen=True)
class Cost:
    """What making a form took: ``seconds`` of its process, libraries included, ``peak`` bytes of its memory, ``disk``
    bytes of its graphs and weights or engines; ``source`` bytes of the PyTorch file that all was made of."""

    shape: str
    form: str
    seconds: float
    peak: int
    disk: int
    source: int


def _forms(shape: ModelShape, root: Path) -> Mapping[str, Callable[[Path], object]]:
    """What makes each form, in an order in which each finds its parent."""
    from export.onnx.fusion import fuse_graphs
    from export.onnx.plain import export_onnx
    from export.quantize.fp16 import convert_fp16
    from export.quantize.int4 import quantize_int4
    from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
    from export.quantize.openvino import convert_openvino_int8

    own, gpu, plain, fused = resolve_target("auto"), TARGETS["cuda-sm89"], root / "onnx", root / "onnx-fused"
    calibrate = _calibrate(shape)
    forms: dict[str, Callable[[Path], object]] = {
        "onnx": lambda folder: export_onnx(shape.task, root / WEIGHTS, folder, []),
        "onnx-fused": lambda folder: fuse_graphs(plain, folder),
        "onnx-int8": lambda folder: quantize_dynamic_int8(fused, folder, own, by_token=True),
        "onnx-int4": lambda folder: quantize_int4(fused, folder),
        "onnx-fp16": lambda folder: convert_fp16(plain, folder),
    }
    forms |= {
        "onnx-static": lambda folder: quantize_static_int8(fused, folder, own, calibrate, "percentile"),
        "onnx-static-gpu": lambda folder: quantize_static_int8(plain, folder, gpu, calibrate, "percentile"),
    }
    if shape.translates:
        return forms
    return forms | {
        "openvino-int8": lambda folder: convert_openvino_int8(fused, folder, own, calibrate, "percentile"),
        "tensorrt-fp16": lambda folder: _build_engine(root / "onnx-fp16", folder, shape.calibration_tokens),
    }


def _calibrate(shape: ModelShape) -> Calibrate:
    """Shows what the graphs of a model see on rows of any tokens."""
    from compress.runtimes.generation import Search
    from export.quantize.calibration import reading, translating

    rows = list(_rows(shape))
    if shape.translates:
        return translating(rows, Search(beams=1, length_penalty=1.0, max_tokens=shape.calibration_tokens))
    return reading(rows)


def _rows(shape: ModelShape) -> Iterator[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    for _ in range(shape.calibration_rows // _CALIBRATION_BATCH):
        tokens = generator.integers(5, shape.tokens, (_CALIBRATION_BATCH, shape.calibration_tokens))
        yield {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}


def _build_engine(source: Path, folder: Path, tokens: int) -> object:
    """Ahead of time, for one GPU generation."""
    from compress.recipe.export import TensorRT
    from compress.runtimes.tensorrt import choose_builder
    from export.tensorrt.builder import EngineRequest, build_engine
    from export.tensorrt.settings import resolved

    settings = resolved(TensorRT(), tokens, TARGETS["cuda-sm89"])
    return build_engine(choose_builder(), EngineRequest(source / "model.onnx", source.name, "fp16", settings), folder)


def write_model(shape: ModelShape, folder: Path) -> None:
    """Write a model with random weights, its tokenizer and configuration."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    loaded: Any = AutoModelForSeq2SeqLM if shape.translates else AutoModelForSequenceClassification
    loaded.from_config(_configuration(shape)).eval().save_pretrained(folder)
    words: Any = Tokenizer(models.WordLevel({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}, unk_token="<unk>"))  # noqa: S106
    fast: Any = PreTrainedTokenizerFast
    names = {"model_input_names": ["input_ids", "attention_mask"], "pad_token": "<pad>", "unk_token": "<unk>"}
    fast(tokenizer_object=words, **names).save_pretrained(folder)


def _configuration(shape: ModelShape) -> Any:
    from transformers import M2M100Config, XLMRobertaConfig

    if shape.translates:
        return M2M100Config(
            vocab_size=shape.tokens,
            d_model=shape.width,
            encoder_layers=shape.layers,
            decoder_layers=shape.layers,
            decoder_start_token_id=5,  # random weights repeat it: of the one that ends a text they would write no more
        )
    config = XLMRobertaConfig(
        vocab_size=shape.tokens,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.width // 64,
        intermediate_size=4 * shape.width,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    config.num_labels = _LABELS
    return config


def make_form(shape: ModelShape, form: str, root: Path) -> None:
    """Make a form of a model in a folder of its name, beside those that it is made from."""
    (root / form).mkdir(exist_ok=True)
    _forms(shape, root)[form](root / form)


def costs_of(shapes: Sequence[ModelShape], forms: Sequence[str] = ()) -> list[Cost]:
    """Make the forms of some shapes, one after the other.

    :param forms: The forms, with those that they are made from; none: all.
    """
    found = []
    for shape in shapes:
        with TemporaryDirectory() as root:
            _made(shape, WEIGHTS, Path(root))
            for form in _forms(shape, Path(root)):
                if not forms or form in forms:
                    found.append(_made(shape, form, Path(root)))
                    Console(stderr=True).print(found[-1])
    return found


def _made(shape: ModelShape, form: str, root: Path) -> Cost:
    """What it takes to make one form, in a process of its own."""
    folder, began = root / form, time.monotonic()
    folder.mkdir()
    command = module_command("bench.studies.large_models", shape.name, form, str(root))
    process = subprocess.Popen(command, env=module_environment())  # noqa: S603
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{shape.name}: {form} ended with {process.returncode}")
    engines = sum(path.stat().st_size for path in folder.glob("*.engine"))
    source = sum(path.stat().st_size for path in (root / WEIGHTS).glob("*.safetensors"))
    seconds = time.monotonic() - began
    return Cost(shape.name, form, seconds, 1024 * usage.ru_maxrss, graph_bytes(folder) + engines, source)


def cost_table(costs: Sequence[Cost]) -> Sequence[str]:
    """The costs as lines of a Markdown table, and the processor's name."""
    lines = [
        f"{cpu_features().cpu_name}, {os.cpu_count()} cores",
        "",
        "| model | form | seconds | peak memory, GB | of the PyTorch file | on disk, GB |",
        "|---|---|---|---|---|---|",
    ]
    for cost in costs:
        share = f"{cost.peak / cost.source:.2f} ×"
        lines.append(
            f"| {cost.shape} ({cost.source / 1e9:.2f} GB) | `{cost.form}` | {cost.seconds:.0f} | "
            f"{cost.peak / 1e9:.2f} | {share} | {cost.disk / 1e9:.2f} |"
        )
    return lines


def main() -> None:
    """Make one form where a shape, a form and a folder are named; else measure them all."""
    if len(sys.argv) > 1:
        shape, form, root = {**SHAPES, MANY_ROWS.name: MANY_ROWS}[sys.argv[1]], sys.argv[2], Path(sys.argv[3])
        folder = root / form
        if form == WEIGHTS:
            write_model(shape, folder)
        else:
            make_form(shape, form, root)
        return
    print("\n".join(cost_table(costs_of(list(SHAPES.values())))))


if __name__ == "__main__":
    main()
