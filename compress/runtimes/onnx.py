"""ONNX Runtime: a graph in, arrays out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import CompressError, UnavailableError, first_line
from compress.runtimes.contract import Predict
from compress.tasks.contract import Task
from compress.threads import may_spin, pool_size

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def load_onnx(path: Path, task: Task, threads: int | None = None, *, cuda: bool = False) -> Predict:
    """Open an encoder's graph in ONNX Runtime.

    Graphs from elsewhere may want int32, or token types that the tokenizer does not give (zeros); outputs with other
    names than the task's are taken in their order.

    :raises CompressError: If the graph wants other inputs, or has too few outputs.
    """
    session = onnx_session(path, threads, cuda=cuda)
    types = {value.name: np.int32 if value.type == "tensor(int32)" else np.int64 for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
    odd = next((value for value in session.get_inputs() if len(value.shape) != 2), None)
    if odd is not None:
        raise CompressError(f"{path}: its input {odd.name} is of shape {odd.shape}; wanted are (rows, tokens)")
    if set(types) - set(_INPUTS) or len(outputs) < len(task.OUTPUTS):
        raise CompressError(
            f"{path}: its inputs are {', '.join(types)} and its outputs {', '.join(outputs)}; wanted are "
            f"{', '.join(_INPUTS)} and {', '.join(task.OUTPUTS)}: export it with these"
        )
    wanted = list(task.OUTPUTS) if set(task.OUTPUTS) <= set(outputs) else outputs[: len(task.OUTPUTS)]

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        feed = {
            name: inputs[name].astype(kind, copy=False) if name in inputs else np.zeros_like(inputs["input_ids"], kind)
            for name, kind in types.items()
        }
        try:
            found = session.run(wanted, feed)
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise CompressError(f"{path}: ONNX Runtime cannot run it ({first_line(error)})") from error
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    return predict


def onnx_session(
    path: Path | bytes,
    threads: int | None = None,
    *,
    cuda: bool = False,
    operators: str | None = None,
    weights: Path | None = None,
    in_order: bool = False,
) -> Any:
    """Open an ONNX Runtime session, on the CPU unless ``cuda`` is wanted and can be had.

    :param path: Of the graph, or the graph itself.
    :param operators: A library of further operators.
    :param weights: Folder in which the weights of a graph lie that is given itself, where they are not in it.
    :param in_order: Run nodes in the order that the graph has them in, as far as it may: what is only looked at is
        forgotten at once then. Otherwise what outputs come of may be kept until all else has run.
    :raises CompressError: If ONNX Runtime is not installed or refuses the file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UnavailableError("onnxruntime is not installed; install the extra `cpu` (or `gpu`)") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = pool_size(threads)
    if not may_spin():
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Of each shape that it has seen, ONNX Runtime would keep a plan of its memory, and memory in blocks that fit it.
    options.enable_mem_pattern = cuda
    options.log_severity_level = 4
    if in_order:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        if operators is not None:
            options.register_custom_ops_library(operators)
        if weights is not None:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(weights.absolute())
            )
        graph = path if isinstance(path, bytes) else str(path)
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        name = "graph" if isinstance(path, bytes) else path
        raise CompressError(f"{name}: ONNX Runtime refuses it ({first_line(error)})") from error


def text_operators() -> str:
    """The library of the operators that read text in a graph.

    :raises UnavailableError: If it is not installed.
    """
    try:
        from onnxruntime_extensions import get_library_path
    except ImportError as error:
        raise UnavailableError("onnxruntime-extensions is not installed; install the extra `text`") from error
    return str(get_library_path())
