"""Running a model folder, whatever it holds: numpy arrays in, the task's outputs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from compress.data.batches import BATCH_TOKENS, run_batches
from compress.data.encode import pad
from compress.errors import CompressError, UnavailableError
from compress.runtimes.contract import Predict
from compress.runtimes.generation import Search, load_generator
from compress.runtimes.onnx import load_onnx
from compress.runtimes.openvino import OPENVINO_MODEL, load_openvino, openvino_models
from compress.runtimes.pytorch import load_torch
from compress.tasks.contract import Example, Task
from compress.variants.files import engines_in
from compress.variants.registry import Runtime


def load_predict(
    model: Path,
    task: Task,
    search: Search,
    threads: int | None = None,
    trust_remote_code: bool = False,
    *,
    cuda: bool = False,
) -> Predict:
    """Load a model folder, whatever it holds: an engine, OpenVINO's or ONNX graphs, else PyTorch; or an ONNX file.

    :param search: How text is searched for, where the task generates.
    :param threads: Threads of one run; none for the runtime's own choice.
    :param trust_remote_code: Run code that lies beside a PyTorch model.
    :param cuda: Run ONNX on the GPU where ONNX Runtime can.
    :raises UnavailableError: If it needs what this machine lacks.
    :raises CompressError: If it cannot be loaded.
    """
    engines = engines_in(model)
    if model.is_dir():
        check_complete(model, task, runtime_of(model))
    if task.GENERATES:
        if engines:
            raise UnavailableError("nothing here runs engines of models that write")
        return load_generator(model, search, threads, cuda=cuda, trust_remote_code=trust_remote_code)
    if engines:
        from compress.runtimes.tensorrt import load_engine

        return load_engine(engines[0], task)
    if model.is_file():
        return load_onnx(model, task, threads, cuda=cuda)
    if (model / OPENVINO_MODEL).exists():
        return load_openvino(model, task, threads)
    (graph,) = task.GRAPHS
    if (model / graph).exists():
        return load_onnx(model / graph, task, threads, cuda=cuda)
    return load_torch(model, task, threads, trust_remote_code=trust_remote_code)


def runtime_of(model: Path) -> Runtime:
    """What opens a model folder or file."""
    engines = engines_in(model)
    if engines:
        from compress.variants.engine import read_sidecar

        return "TensorRT-RTX" if read_sidecar(engines[0]).ahead_of_time else "TensorRT"
    if any(model.glob("openvino_*model.xml")):
        return "OpenVINO"
    return "ONNX Runtime" if model.suffix == ".onnx" or any(model.glob("*.onnx")) else "PyTorch"


def check_complete(folder: Path, task: Task, runtime: Runtime) -> None:
    """Refuse a model's folder without what the runtime is to open.

    :raises CompressError: Naming what is missing.
    """
    wanted: Mapping[str, Sequence[str]] = {
        "ONNX Runtime": task.GRAPHS,
        "OpenVINO": openvino_models(task),
        "PyTorch": ("*.safetensors",),
    }
    for name in wanted.get(runtime, ("*.engine",)):
        if not any(folder.glob(name)):
            raise CompressError(f"{folder}: {name.replace('*', 'model')} is missing; make the folder or get it again")


def predict_examples(
    predict: Predict,
    task: Task,
    examples: Sequence[Example],
    pad_id: int,
    batch_size: int = 64,
    advance: Callable[[int], object] = lambda examples: None,
    batch_tokens: int = BATCH_TOKENS,
) -> list[np.ndarray]:
    """The outputs of all examples in their order, padding cut off; batches are made by length.

    Where vectors are asked for, examples that are the same are asked for once: a passage stands in many rows.

    :param batch_size: Examples of a batch at most; there are fewer where they are long, or memory is short.
    :param advance: Told the number of examples after each batch.
    :param batch_tokens: Tokens of a batch at most, padding included.
    :raises CompressError: If memory is too short for one example.
    """
    outputs: dict[int, np.ndarray] = {}
    first = _first_places(examples) if task.VECTORS else list(range(len(examples)))
    asked = [examples[place] for place in dict.fromkeys(first)]

    def run(indices: list[int]) -> np.ndarray:
        return predict(pad([asked[index] for index in indices], pad_id))

    for indices, found in run_batches(asked, batch_size, run, batch_tokens=batch_tokens):
        for index, output in zip(indices, found, strict=True):
            outputs[index] = output[: len(asked[index]["input_ids"])] if task.OUTPUT_AXIS == "input_ids" else output
        advance(len(indices))
    advance(len(examples) - len(asked))
    numbers = {place: number for number, place in enumerate(dict.fromkeys(first))}
    return [outputs[numbers[place]] for place in first]


def _first_places(examples: Sequence[Example]) -> list[int]:
    """Of each example the place of the first that is the same."""
    places: dict[tuple[int, ...], int] = {}
    return [places.setdefault(tuple(example["input_ids"]), place) for place, example in enumerate(examples)]


def check_outputs(model: str, outputs: Sequence[np.ndarray], mend: str) -> None:
    """Refuse outputs that are no numbers: whatever prediction is made of them, it means nothing.

    :param model: For people.
    :raises CompressError: If those of an example are infinite or not a number.
    """
    wrong = sum(not np.isfinite(output).all() for output in outputs)
    if wrong:
        raise CompressError(
            f"{model}: its outputs are infinite or not a number for {wrong:,} of {len(outputs):,} rows; {mend}"
        )
