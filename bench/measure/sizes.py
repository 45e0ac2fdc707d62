"""Size of a model on disk: what hangs on the vocabulary, and the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from compress.models.describe import stored_weights
from compress.reports.bench import Size
from compress.variants.files import engines_in
from export.onnx.graphs import graph_files


def size_on_disk(model: Path, tokenizer: Path) -> Size:
    """Bytes of a model's graph or weights, and of its embeddings: every weight with an axis as long as the vocabulary,
    output layers of models that write included; none where the size of the vocabulary is not known."""
    files = model_files(model)
    total = sum(path.stat().st_size for path in files)
    vocabulary = _vocabulary_size(tokenizer)
    if vocabulary is None or any(path.suffix == ".engine" for path in files):
        return Size(total=total, embeddings=None, rest=None)
    embeddings = sum(size for shape, size in _weights(files) if vocabulary in shape)
    return Size(total=total, embeddings=embeddings, rest=total - embeddings)


def model_files(model: Path) -> list[Path]:
    """The files of a model, without its tokenizer: graphs where there are some, else safetensors or engines."""
    if model.is_file():
        beside = {model.parent / name for name in _external_data(model)}
        return [model, *sorted(beside)]
    return graph_files(model) or engines_in(model) or sorted(model.glob("*.safetensors"))


def _vocabulary_size(folder: Path) -> int | None:
    path = folder / "config.json"
    size: int | None = json.loads(path.read_text("utf-8")).get("vocab_size") if path.exists() else None
    return size


def _weights(files: Sequence[Path]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Shape and bytes of each weight in the files of a model."""
    for path in files:
        if path.suffix == ".safetensors":
            yield from stored_weights(path)
        elif path.suffix == ".xml":
            yield from _of_openvino(path)
    yield from _of_graphs([path for path in files if path.suffix == ".onnx"])


def _of_graphs(paths: Sequence[Path]) -> Iterator[tuple[tuple[int, ...], int]]:
    """What several graphs share counts once."""
    import onnx_ir

    seen: set[tuple[str, int | None]] = set()
    for tensor in (tensor for path in paths for tensor in _initializers(path)):
        if isinstance(tensor, onnx_ir.ExternalTensor):
            place = (str(tensor.location), tensor.offset)
            if place in seen:
                continue
            seen.add(place)
        yield tuple(tensor.shape.numpy()), tensor.nbytes


def _initializers(path: Path) -> list[Any]:
    import onnx_ir

    values = onnx_ir.load(path).graph.initializers.values()  # their data stays on disk
    return [value.const_value for value in values if value.const_value is not None]


def _external_data(path: Path) -> set[str]:
    import onnx_ir

    return {str(tensor.location) for tensor in _initializers(path) if isinstance(tensor, onnx_ir.ExternalTensor)}


def _of_openvino(path: Path) -> Iterator[tuple[tuple[int, ...], int]]:
    from compress.runtimes.openvino import openvino_core

    for operation in openvino_core().read_model(path).get_ops():
        if operation.get_type_name() == "Constant":
            yield tuple(operation.get_output_shape(0)), operation.get_byte_size()
