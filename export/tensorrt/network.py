"""Reading a graph with TensorRT's parser, and what the parser stops at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.contract import Contract
from compress.errors import CompressError
from compress.runtimes.tensorrt import EngineBuilder, collecting_logger
from compress.variants.registry import ENGINES

_INT8_OF_CPUS = ("QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "MatMulIntegerToFloat")


class Problem(Contract):
    """What the parser stopped at."""

    node: str
    operator: str
    reason: str


def parse_graph(builder: EngineBuilder, graph: Path) -> tuple[Any, Any, Any, Any]:
    """Read a graph: the module's builder, network, parser and log, which keep one another alive.

    :raises CompressError: With the node and the reason, where TensorRT refuses the graph.
    """
    trt_builder, network, parser, log = empty_network(builder)
    if not parser.parse_from_file(str(graph)):
        raise CompressError(f"tensorrt: {graph} cannot be built: {_first_problem(parser, log)}")
    return trt_builder, network, parser, log


def empty_network(builder: EngineBuilder) -> tuple[Any, Any, Any, Any]:
    """The module's builder, an empty network, a parser that fills it, and their log."""
    trt = builder.module
    log = collecting_logger(trt)
    trt_builder = trt.Builder(log)
    # Strong typing, which newer versions know no alternative to.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = trt_builder.create_network(0 if flag is None else 1 << int(flag))
    return trt_builder, network, trt.OnnxParser(network, log), log


def parser_problems(parser: Any) -> list[Problem]:
    """What a parser stopped at."""
    found = []
    for error in (parser.get_error(index) for index in range(parser.num_errors)):
        operator, reason = error.node_operator(), " ".join(error.desc().split())
        if reason in ("", "false"):  # the parser's own condition, with no words to it
            reason = "TensorRT has no such operator"
        if operator in _INT8_OF_CPUS:
            reason += f"; TensorRT takes signed int8 with fixed ranges: {ENGINES['int8'].parent} (--precision int8)"
        found.append(Problem(node=error.node_name(), operator=operator, reason=reason))
    return found


def _first_problem(parser: Any, log: Any) -> str:
    if not parser.num_errors:
        return str(log.summary())
    problem = parser_problems(parser)[0]
    return f"node '{problem.node}' ({problem.operator}): {problem.reason}"
