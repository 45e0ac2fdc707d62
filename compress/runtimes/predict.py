"""Running a model folder, whatever it holds: numpy arrays in, the task's outputs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.data.encode import batches_by_length, pad
from compress.errors import CompressError, UnavailableError
from compress.runtimes.generation import Search, load_generator
from compress.tasks.contract import Example, Task

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OPENVINO_MODEL = "openvino_model.xml"  # the name that Optimum looks for
Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From padded inputs, int64 (examples, tokens), to float32 (examples, classes) or (examples, tokens, classes), or to
the tokens that are written, int64 (examples, tokens)."""


def load_predict(model: Path, task: Task, search: Search, threads: int | None = None, *, cuda: bool = False) -> Predict:
    """Load a model folder, ONNX or OpenVINO where it holds such graphs, else PyTorch; or an encoder's ONNX file.

    :param search: How text is searched for, where the task generates.
    :param threads: Threads of one run; none for the runtime's own choice.
    :param cuda: Run ONNX on the GPU where ONNX Runtime can.
    """
    if task.GENERATES:
        return load_generator(model, search, threads, cuda=cuda)
    if model.is_file():
        return load_onnx(model, task, threads, cuda=cuda)
    if (model / OPENVINO_MODEL).exists():
        return load_openvino(model, task, threads)
    return (
        load_onnx(model / "model.onnx", task, threads, cuda=cuda)
        if (model / "model.onnx").exists()
        else load_torch(model, task, threads)
    )


def load_onnx(path: Path, task: Task, threads: int | None = None, *, cuda: bool = False) -> Predict:
    """Open an encoder's graph in ONNX Runtime.

    Graphs from elsewhere may want int32, or token types that the tokenizer does not give (zeros); outputs with other
    names than the task's are taken in their order.

    :raises CompressError: If the graph wants other inputs, or has too few outputs.
    """
    session = onnx_session(path, threads, cuda=cuda)
    types = {value.name: np.int32 if value.type == "tensor(int32)" else np.int64 for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]
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
        found = session.run(wanted, feed)
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    return predict


def load_openvino(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Open an encoder's graph in OpenVINO, on the CPU, in the precision of its file."""
    settings: dict[str, Any] = {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    # OpenVINO takes bf16 by itself where the processor has it, and so gives other answers than elsewhere.
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino_core().compile_model(folder / OPENVINO_MODEL, "CPU", settings)
    request, names = compiled.create_infer_request(), {value.any_name for value in compiled.inputs}

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        found = request.infer({name: array for name, array in inputs.items() if name in names})
        outputs = [found[name].copy() for name in task.OUTPUTS]
        return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)

    return predict


def openvino_core() -> Any:
    """OpenVINO's entry point.

    :raises UnavailableError: If it is not installed.
    """
    try:
        import openvino
    except ImportError:
        raise UnavailableError("OpenVINO is not installed; install the extra `openvino`") from None
    return openvino.Core()


def onnx_session(
    path: Path | bytes, threads: int | None = None, *, cuda: bool = False, operators: str | None = None
) -> Any:
    """Open an ONNX Runtime session, on the CPU unless ``cuda`` is wanted and can be had.

    :param path: Of the graph, or the graph itself.
    :param operators: A library of further operators.
    :raises CompressError: If ONNX Runtime is not installed or refuses the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UnavailableError("onnxruntime is not installed; install the extra `cpu` (or `gpu`)") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"] if cuda else ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        if operators is not None:
            options.register_custom_ops_library(operators)
        graph = path if isinstance(path, bytes) else str(path)
        return onnxruntime.InferenceSession(graph, options, providers=providers)
    except Exception as error:  # onnxruntime's exceptions share no public base class
        name = "graph" if isinstance(path, bytes) else path
        raise CompressError(f"{name}: ONNX Runtime refuses it ({error})") from None


def load_torch(folder: Path, task: Task, threads: int | None = None) -> Predict:
    """Load a model with PyTorch, on the GPU where there is one."""
    import torch

    from compress.models.load import model_class
    from compress.teacher.signals import outputs_of

    if threads:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model_class(task).from_pretrained(folder, use_safetensors=True).to(device).eval()

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
            return outputs_of(model(**tensors), task.OUTPUTS).float().cpu().numpy()

    return predict


def predict_examples(
    predict: Predict,
    task: Task,
    examples: Sequence[Example],
    pad_id: int,
    batch_size: int = 64,
    advance: Callable[[int], object] = lambda examples: None,
) -> list[np.ndarray]:
    """The outputs of all examples in their order, padding cut off; batches are made by length.

    :param advance: Told the number of examples after each batch.
    """
    outputs: dict[int, np.ndarray] = {}
    for indices in batches_by_length(examples, batch_size):
        found = predict(pad([examples[index] for index in indices], pad_id))
        for index, output in zip(indices, found, strict=True):
            outputs[index] = output[: len(examples[index]["input_ids"])] if task.ONE_FOR_EACH == "input_ids" else output
        advance(len(indices))
    return [outputs[index] for index in range(len(examples))]
