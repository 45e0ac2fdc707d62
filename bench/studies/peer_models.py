"""The contenders of the comparison with peers: the same encoder in our variants, and as others run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.console import swallowed_output
from compress.runtimes.onnx import onnx_session
from compress.runtimes.openvino import load_openvino
from compress.targets import resolve_target, without_bf16
from compress.tasks.registry import task_named

Tokens = dict[str, NDArray[np.int64]]
PeerModel = Callable[[Tokens], NDArray[Any]]
"""From tokens, int64 (rows, tokens), to logits, float32 (rows, labels)."""

CONTENDERS = {
    "onnx": "fp32",
    "onnx-fused": "fp32",
    "PyTorch": "fp32",
    "torch.compile": "fp32",
    "OpenVINO f32": "fp32",
    "openvino-bf16": "bf16",
    "PyTorch bf16": "bf16",
    "torch.compile bf16": "bf16",
    "OpenVINO as it comes": "bf16",
    "onnx-int8": "int8",
    "onnx-static": "int8",
    "openvino-int8": "int8",
    "ONNX Runtime default int8": "int8",
    "OpenVINO NNCF int8 f32": "int8",
    "OpenVINO NNCF int8 as it comes": "int8",
}
"""Who is measured, and in which precision: as it comes, OpenVINO takes bf16 where the processor has it."""
OURS = ("onnx-fused", "openvino-bf16", "onnx-int8", "onnx-static", "openvino-int8")
EXACT = "PyTorch"
"""Whose logits the others are compared with."""

_VOCABULARY, _LABELS = 30_000, 7


@dataclass(frozen=True)
class EncoderShape:
    """Layers and width of a BERT whose heads are 32 or 64 wide."""

    layers: int
    width: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.layers}x{self.width}"

    def operations(self, batch: int, length: int) -> float:
        """Multiplications and additions of the layers' matrix products."""
        weights = self.layers * 12 * self.width**2
        attention = self.layers * 2 * length * self.width
        return 2.0 * batch * length * (weights + attention)


def contenders_here() -> list[str]:
    """Those that this machine has what it takes for: bf16, or a compiler."""
    compiles = _has_compiler()
    return [
        name
        for name in CONTENDERS
        if not (name == "openvino-bf16" and without_bf16()) and (compiles or not name.startswith("torch.compile"))
    ]


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except InvalidCxxCompiler:
        return False


def precision_here(name: str) -> str:
    """In which precision a contender calculates on this machine."""
    return "fp32" if name == "OpenVINO as it comes" and without_bf16() else CONTENDERS[name]


def ours_like(name: str, present: Sequence[str]) -> list[str]:
    """Ours in the precision of a contender, or else in 32 bits.

    :param present: Who is measured.
    """
    ours = [own for own in OURS if own in present]
    same = [own for own in ours if CONTENDERS[own] == precision_here(name)]
    return same or [own for own in ours if CONTENDERS[own] == "fp32"]


def random_tokens(batch: int, length: int) -> Tokens:
    """The same random tokens for all, int64 (batch, length), by the names of the inputs."""
    tokens = np.random.default_rng(length).integers(5, _VOCABULARY, (batch, length))
    zeros = np.zeros_like(tokens)
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": zeros}


def write_models(shape: EncoderShape, folder: Path) -> None:
    """The same weights for all: PyTorch, plain ONNX, our variants, and those of the peers."""
    from export.onnx.fusion import fuse_graphs
    from export.onnx.plain import export_onnx
    from export.quantize.calibration import reading
    from export.quantize.int8 import quantize_dynamic_int8, quantize_static_int8
    from export.quantize.openvino import convert_openvino_bf16, convert_openvino_int8

    _write_torch(shape, folder / "torch")
    for name in ("plain", "fused", "int8", "static", "openvino-int8", "openvino-bf16"):
        (folder / name).mkdir()
    export_onnx(task_named("text-classification"), folder / "torch", folder / "plain", [])
    fuse_graphs(folder / "plain", folder / "fused")
    target, feeds = resolve_target("auto"), [random_tokens(1, length) for length in range(8, 72)]
    quantize_dynamic_int8(folder / "fused", folder / "int8", target, by_token=True)
    quantize_static_int8(folder / "fused", folder / "static", target, reading(feeds), "minmax")
    convert_openvino_int8(folder / "fused", folder / "openvino-int8", target, reading(feeds), "minmax")
    convert_openvino_bf16(folder / "plain", folder / "openvino-bf16")
    _write_peers(folder, feeds)


def open_peer(name: str, folder: Path, threads: int) -> PeerModel:
    """Open a contender, whose models lie in a folder."""
    if name.startswith("openvino-"):
        return load_openvino(folder / name, task_named("text-classification"), threads)
    files = {
        "onnx": "plain/model.onnx",
        "onnx-fused": "fused/model.onnx",
        "onnx-int8": "int8/model.onnx",
        "onnx-static": "static/model.onnx",
        "ONNX Runtime default int8": "default-int8.onnx",
    }
    if name.startswith("OpenVINO"):
        path = folder / ("nncf.xml" if "NNCF" in name else "plain/model.onnx")
        return _openvino(path, threads, pinned=name.endswith("f32"))
    if name in files:
        session = onnx_session(folder / files[name], threads)
        return lambda feed: np.asarray(session.run(["logits"], feed)[0])
    return _torch(folder / "torch", threads, compiled=name.startswith("torch.compile"), bf16=name.endswith("bf16"))


def _openvino(path: Path, threads: int, *, pinned: bool) -> PeerModel:
    """A file in OpenVINO.

    :param pinned: In 32 bits, for one request at a time; else with its own hints, of which only threads are given.
    """
    import openvino

    settings: dict[str, object] = {"INFERENCE_NUM_THREADS": threads}
    if pinned:
        settings |= {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda feed: np.array(request.infer(feed)[0])


def _torch(folder: Path, threads: int, *, compiled: bool, bf16: bool) -> PeerModel:
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if bf16:
        model = model.bfloat16()
    if compiled:
        model = torch.compile(model, dynamic=False)

    def predict(feed: Tokens) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.float())

    return predict


def _write_torch(shape: EncoderShape, folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

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
    model: Any = BertForSequenceClassification(config)
    model.eval().save_pretrained(folder)
    words: Any = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=words, model_input_names=inputs, pad_token="[PAD]").save_pretrained(folder)  # noqa: S106


def _write_peers(folder: Path, feeds: list[Tokens]) -> None:
    """What others make of the plain graph: ONNX Runtime's default int8, and NNCF's for OpenVINO."""
    import nncf
    import openvino
    from onnxruntime.quantization import quantize_dynamic

    with swallowed_output():
        quantize_dynamic(folder / "plain/model.onnx", folder / "default-int8.onnx")
        plain = openvino.Core().read_model(folder / "plain/model.onnx")
        quantised = nncf.quantize(plain, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=64)
        openvino.save_model(quantised, folder / "nncf.xml", compress_to_fp16=False)
