"""What is wrong with an ONNX file from elsewhere, in one line, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from compress.errors import CompressError, first_line

_OLDEST_OPSET = 13  # the first in which QuantizeLinear knows channels
_FLOATING_POINT = (1, 10, 11)  # in TensorProto.DataType: 32, 16 and 64 bits
_LARGEST = 2**31  # bytes of a protocol buffer; larger weights lie beside it
_LONGEST_SIZE = 19  # digits of a size; 64 bits hold no more
_LONGEST_NAME, _LONGEST_REASON = 200, 400
_OTHER_DOMAINS = ("com.microsoft", "ai.onnx.ml", "trt.plugins")


def check_onnx(path: Path) -> None:
    """Accept a graph or refuse it.

    :raises CompressError: If the file is missing or damaged, its weights lie outside of its folder or hold values that
        are not numbers, or its operators or their version are not known.
    """
    model = _read(path)
    _check_operators(path, model)
    _check_weights_are_beside(path, model)
    _check_structure(path)
    _check_numbers(path)


def _read(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise CompressError(f"{path}: no such file; name an ONNX file")
    if path.stat().st_size > _LARGEST:
        raise CompressError(
            f"{path}: {path.stat().st_size:,} bytes, where ONNX files have 2 GB at most; export it again"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise CompressError(f"{path}: not an ONNX file, or cut off; copy or export it again") from error
    if not model.graph.node:
        raise CompressError(f"{path}: the graph is empty: not an ONNX file, or cut off; copy or export it again")
    return model


def _check_operators(path: Path, model: Any) -> None:
    import onnx

    versions = {opset.domain: opset.version for opset in model.opset_import}
    version, newest = versions.get("", versions.get("ai.onnx", 0)), onnx.defs.onnx_opset_version()
    if not _OLDEST_OPSET <= version <= newest:
        raise CompressError(
            f"{path}: operator set {version}; {_OLDEST_OPSET} to {newest} can be read: export it with another"
        )
    own = {(function.domain, function.name) for function in model.functions}
    for node in nodes_of(model):
        known = node.domain in _OTHER_DOMAINS or (node.domain, node.op_type) in own
        standard = node.domain in ("", "ai.onnx") and isinstance(node.op_type, str)
        if not known and not (standard and onnx.defs.has(node.op_type, version)):
            where = f" of domain '{_named(node.domain)}'" if node.domain else ""
            raise CompressError(
                f"{path}: node '{_named(node.name)}' has the operator {_named(node.op_type)}{where}, which operator "
                f"set {version} does not have; export it with standard operators"
            )


def check_weights_are_beside(path: Path) -> None:
    """Accept a graph whose weights are in its file or beside it, or refuse it.

    :raises CompressError: If they lie outside of its folder, are missing or cut off.
    """
    _check_weights_are_beside(path, _read(path))


def _check_weights_are_beside(path: Path, model: Any) -> None:
    for tensor in _tensors(model):
        if not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name, location = _named(tensor.name), PurePosixPath(_named(entries.get("location", "")))
        file = path.parent / location
        if location.is_absolute() or not file.resolve().is_relative_to(path.parent.resolve()):
            raise CompressError(
                f"{path}: the weights '{name}' lie outside of its folder ({location}); put them beside the file"
            )
        if not file.is_file():
            raise CompressError(f"{path}: the weights '{name}' are missing ({location}); copy that file too")
        sizes = [_named(entries.get(key, "0")) for key in ("offset", "length")]
        if not all(size.isascii() and size.isdigit() and len(size) < _LONGEST_SIZE for size in sizes):
            raise CompressError(f"{path}: where the weights '{name}' begin and end is no number; export it again")
        wanted = sum(map(int, sizes))
        if file.stat().st_size < wanted:
            raise CompressError(f"{file}: cut off: {wanted:,} bytes are needed, {file.stat().st_size:,} are there")


def _tensors(model: Any) -> Iterator[Any]:
    """Every constant of a model: of its graph and of graphs in graphs, of attributes and of functions."""
    graphs = [model.graph]
    nodes = [*_nodes(model.graph.node), *(node for function in model.functions for node in _nodes(function.node))]
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            graphs += [attribute.g, *attribute.graphs]
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _named(text: str | bytes, longest: int = _LONGEST_NAME) -> str:
    """What a graph calls something, as long as a message can hold it; protobuf gives bytes where it is no UTF-8."""
    shown = text if isinstance(text, str) else repr(text)
    return shown if len(shown) <= longest else f"{shown[:longest]}…"


def nodes_of(model: Any) -> Iterator[Any]:
    """The nodes of a model's graph, and those of graphs in their attributes."""
    return _nodes(model.graph.node)


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes, and the nodes of the graphs in their attributes."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _check_structure(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(path)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = _named(" ".join(str(error).split("==> Context")[0].split()), _LONGEST_REASON)
        raise CompressError(f"{path}: not a valid graph ({reason}); export it again") from error


def _check_numbers(path: Path) -> None:
    import onnx

    for tensor in _tensors(onnx.load(path, load_external_data=False)):
        if tensor.data_type in _FLOATING_POINT:
            is_beside = bool(tensor.external_data)
            try:
                values = onnx.numpy_helper.to_array(tensor, str(path.parent))
            except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
                raise CompressError(
                    f"{path}: the weights '{_named(tensor.name)}' cannot be read ({first_line(error)}); export it again"
                ) from error
            bad = int(np.isnan(values).sum())
            if is_beside:
                tensor.ClearField("raw_data")  # one after the other is in memory, not all
            if bad:
                raise CompressError(
                    f"{path}: {bad:,} of the weights '{_named(tensor.name)}' are not a number; train or export the "
                    "model again"
                )
