"""What is wrong with an ONNX file from elsewhere, in one line, before anything is made of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from compress.errors import CompressError

_OLDEST_OPSET = 13  # the first in which QuantizeLinear knows channels
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
    for node in model.graph.node:
        known = node.domain in _OTHER_DOMAINS or (node.domain, node.op_type) in own
        if not known and not (node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, version)):
            where = f" of domain '{node.domain}'" if node.domain else ""
            raise CompressError(
                f"{path}: node '{node.name}' has the operator {node.op_type}{where}, which operator set {version} does "
                "not have; export it with standard operators"
            )


def check_weights_are_beside(path: Path) -> None:
    """Accept a graph whose weights are in its file or beside it, or refuse it.

    :raises CompressError: If they lie outside of its folder, are missing or cut off.
    """
    _check_weights_are_beside(path, _read(path))


def _check_weights_are_beside(path: Path, model: Any) -> None:
    for tensor in model.graph.initializer:
        if not tensor.external_data:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = PurePosixPath(entries.get("location", ""))
        file = path.parent / location
        if location.is_absolute() or not file.resolve().is_relative_to(path.parent.resolve()):
            raise CompressError(
                f"{path}: the weights '{tensor.name}' lie outside of its folder ({location}); put them beside the file"
            )
        if not file.is_file():
            raise CompressError(f"{path}: the weights '{tensor.name}' are missing ({location}); copy that file too")
        wanted = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        if file.stat().st_size < wanted:
            raise CompressError(f"{file}: cut off: {wanted:,} bytes are needed, {file.stat().st_size:,} are there")


def _check_structure(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(path)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split("==> Context")[0].split())
        raise CompressError(f"{path}: not a valid graph ({reason}); export it again") from error


def _check_numbers(path: Path) -> None:
    import onnx_ir

    for name, value in onnx_ir.load(path).graph.initializers.items():
        constant = value.const_value
        if constant is not None and constant.dtype.is_floating_point():
            bad = int(np.isnan(constant.numpy().astype(np.float32, copy=False)).sum())
            if bad:
                raise CompressError(
                    f"{path}: {bad:,} of the weights '{name}' are not a number; train or export the model again"
                )
