"""What TensorRT makes of a graph, layer by layer, without building an engine."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field
from rich.table import Table

from compress.console import table, working
from compress.contract import Contract
from compress.runtimes.tensorrt import EngineBuilder
from export.tensorrt.network import Problem, empty_network, parser_problems

_SHOWN_PROBLEMS = 10


class Layer(Contract):
    """A layer that the parser produces."""

    name: str
    type: str
    precision: str = Field(description="of what it puts out first; empty: it puts out nothing")


class Explanation(Contract):
    """What TensorRT makes of a graph: layers, or problems that stop it."""

    graph: str
    layers: list[Layer]
    problems: list[Problem]


def explain(builder: EngineBuilder, graph: Path) -> Explanation:
    """The layers that the parser produces, or what would stop TensorRT."""
    _, network, parser, log = empty_network(builder)
    with working(f"tensorrt: reading {graph.name}"):
        parsed = parser.parse_from_file(str(graph))
    problems = parser_problems(parser)
    if not parsed and not problems:
        problems.append(Problem(node="", operator="", reason=log.summary()))
    layers = [_layer(network.get_layer(index)) for index in range(network.num_layers)] if parsed else []
    return Explanation(graph=str(graph), layers=layers, problems=problems)


def explanation_table(name: str, found: Explanation) -> Table:
    """How many layers of each kind there are in each precision, or what stops TensorRT."""
    if found.problems:
        rows = [(problem.node, problem.operator, problem.reason) for problem in found.problems[:_SHOWN_PROBLEMS]]
        return table(f"{name}: TensorRT stops at these nodes", ("node", "operator", "reason"), rows, left=3)
    counts = Counter((layer.type, layer.precision) for layer in found.layers)
    precisions = sorted({precision for _, precision in counts})
    kinds = Counter(layer.type for layer in found.layers)
    cells = [
        (kind, *(str(counts[kind, precision] or "") for precision in precisions)) for kind, _ in kinds.most_common()
    ]
    return table(f"{name}: {len(found.layers)} layers, nothing stops TensorRT", ("layer", *precisions), cells)


def _layer(layer: Any) -> Layer:
    output = layer.get_output(0) if layer.num_outputs else None
    precision = output.dtype.name.lower() if output is not None else ""
    return Layer(name=layer.name, type=layer.type.name.lower(), precision=precision)
