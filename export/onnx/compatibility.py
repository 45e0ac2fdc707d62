"""The oldest ONNX Runtime that has what a graph is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.serving.format import NeededRuntime
from export.onnx.checks import nodes_of

_RELEASES = (
    ((1, 14), 18, 8),
    ((1, 15), 19, 9),
    ((1, 17), 20, 9),
    ((1, 18), 21, 10),
    ((1, 21), 22, 10),
    ((1, 23), 23, 11),
    ((1, 24), 25, 13),
    ((1, 25), 26, 13),
)
"""Releases of ONNX Runtime, the opset and the version of the format that each was the first to read.

From 1.15 on as the wheels on PyPI open graphs of each; 1.14 as in
https://onnxruntime.ai/docs/reference/compatibility.html#onnx-opset-support.
"""
_CONTRIBUTED = {"MatMulIntegerToFloat": (1, 14), "MatMulNBits": (1, 17)}
"""Operators of ONNX Runtime's own, and the first of these releases that has them; as wheels open them, and of 1.14
https://github.com/microsoft/onnxruntime/blob/rel-1.14.0/docs/ContribOperators.md."""
_OWN_DOMAIN = "com.microsoft"

_Reason = tuple[tuple[int, int], str]


def needed_runtime(folder: Path) -> NeededRuntime | None:
    """The oldest ONNX Runtime that runs every graph in a folder; none where there are no graphs."""
    import onnx

    graphs = [onnx.load(path, load_external_data=False) for path in sorted(folder.glob("*.onnx"))]
    if not graphs:
        return None
    unknown = sorted({what for graph in graphs for what in _unknown_in(graph)})
    if unknown:
        return NeededRuntime(oldest=None, because=", ".join(unknown))
    release, because = max((reason for graph in graphs for reason in _reasons_in(graph)), key=lambda reason: reason[0])
    return NeededRuntime(oldest=".".join(map(str, release)), because=because)


def _unknown_in(graph: Any) -> list[str]:
    """What of a graph these tables do not have."""
    opset = _opset(graph)
    found = [f"{node.op_type} of {node.domain}" for node in nodes_of(graph) if not _is_known(node)]
    found += [f"opset {opset}"] if opset > _RELEASES[-1][1] else []
    return found + ([f"format {graph.ir_version}"] if graph.ir_version > _RELEASES[-1][2] else [])


def _is_known(node: Any) -> bool:
    is_standard = node.domain in ("", "ai.onnx")
    return is_standard or (node.domain == _OWN_DOMAIN and node.op_type in _CONTRIBUTED)


def _reasons_in(graph: Any) -> list[_Reason]:
    """Releases that a graph needs, each with what it is needed for."""
    opset, form = _opset(graph), graph.ir_version
    found = [(next(release for release, newest, _ in _RELEASES if newest >= opset), f"opset {opset}")]
    found.append((next(release for release, _, newest in _RELEASES if newest >= form), f"format {form}"))
    own = {node.op_type for node in nodes_of(graph) if node.domain == _OWN_DOMAIN}
    return [*found, *((_CONTRIBUTED[name], name) for name in sorted(own))]


def _opset(graph: Any) -> int:
    versions = {opset.domain: opset.version for opset in graph.opset_import}
    return int(versions.get("", versions.get("ai.onnx", 0)))
