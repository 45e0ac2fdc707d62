"""Weights of graphs on disk: in the graph's own file, or once for all graphs of a folder in a file beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.console import swallowed_output
from export.onnx.graphs import Announce

if TYPE_CHECKING:
    from onnx_ir import Model, Value

SINGLE_FILE_LIMIT = 500_000_000
"""Bytes of weights that a graph's own file holds at most. Protocol buffers end at 2 GB, and are whole in memory three
times while they are written."""

_WEIGHTS = "model.onnx_data"  # the ending that Optimum and transformers.js look for
_SMALLEST_BESIDE = 1024  # bytes; shapes and the like, which other tools read, stay in the graph
_PAGE = 4096  # where weights begin, so that they can be mapped into memory

Place = tuple[int, int]
"""Where weights begin in a file, and how many bytes they have."""


def save_graph(graph: Model, path: Path) -> None:
    """Write a graph: one file below half a gigabyte, else with its weights beside it."""
    save_graphs([path.name], lambda _: graph, path.parent)


def save_graphs(
    names: Collection[str], made: Callable[[str], Model], folder: Path, announce: Announce = nullcontext
) -> None:
    """Make graphs and write them, one after the other.

    The weights of several graphs lie in one file beside them, in which equal ones are once.

    :param names: Of their files.
    :param made: Gives a graph, by the name of its file.
    """
    import onnx_ir

    places: dict[bytes, Place] = {}
    for name in names:
        with announce(name), swallowed_output():
            graph = made(name)
            if len(names) > 1 or weight_bytes(graph) > SINGLE_FILE_LIMIT:
                _put_beside(graph, folder / _WEIGHTS, places)
            else:
                onnx_ir.external_data.load_to_model(graph)
            onnx_ir.save(graph, folder / name)


def write_alone(source: Path, target: Path) -> None:
    """Copy a graph; what lies in a file beside it comes into its own, which must not be larger than half a gigabyte."""
    import onnx

    onnx.save(onnx.load(source), target)


def weight_bytes(graph: Model) -> int:
    """Size of a graph's weights; what several nodes share counts once."""
    return sum(value.const_value.nbytes for value in graph.graph.initializers.values() if value.const_value is not None)


def array_of(value: Value) -> np.ndarray:
    """A copy of the weights of a value; of those in a file no more stays in memory."""
    import onnx_ir

    tensor: Any = value.const_value
    array = np.array(tensor.numpy())
    if isinstance(tensor, onnx_ir.ExternalTensor):
        tensor.release()
    return array


def constant(graph: Any, name: str, array: np.ndarray) -> Any:
    """A new constant of a graph."""
    import onnx_ir

    tensor: Any = onnx_ir.tensor(array, name=name)
    kind = onnx_ir.TensorType(tensor.dtype)
    value = onnx_ir.Value(name=name, shape=tensor.shape, type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


def _put_beside(graph: Model, path: Path, places: dict[bytes, Place]) -> None:
    """Move the weights of a graph into a file beside it.

    :param places: Of all weights that the file holds, by their digests.
    """
    import onnx_ir

    with path.open("ab") as file:
        for value in graph.graph.initializers.values():
            tensor: Any = value.const_value
            if tensor is None or tensor.dtype == onnx_ir.DataType.STRING:
                continue
            if tensor.nbytes < _SMALLEST_BESIDE:
                value.const_value = onnx_ir.Tensor(array_of(value), dtype=tensor.dtype, name=value.name)
                continue
            content = _content(tensor)
            digest = hashlib.sha256(content).digest()
            if digest not in places:
                file.write(bytes(-file.tell() % _PAGE))
                places[digest] = (file.tell(), tensor.nbytes)
                file.write(content)
            del content
            if isinstance(tensor, onnx_ir.ExternalTensor):
                tensor.release()
            offset, length = places[digest]
            value.const_value = onnx_ir.ExternalTensor(
                path.name, offset, length, tensor.dtype, shape=tensor.shape, name=str(value.name), base_dir=path.parent
            )


def _content(tensor: Any) -> Any:
    """The bytes of weights, no copy of them where there is one to a number at least."""
    if tensor.dtype.bitwidth < 8:
        return tensor.tobytes()
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8)
