"""Running an engine: on a GPU, with its arrays in PyTorch's memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from compress.errors import CompressError
from compress.runtimes.predict import Predict
from compress.tasks.contract import Task
from export.tensorrt.builder import EngineBuilder, collecting_logger, gpu_generation


def runs_here(sidecar: dict[str, Any]) -> bool:
    """Whether there is a GPU that the engine was built for."""
    import torch

    return torch.cuda.is_available() and gpu_generation() in sidecar["sm"]


def load_engine(builder: EngineBuilder, path: Path, task: Task) -> Predict:
    """Open an engine for the task's inputs and outputs, padded batches within one of its profiles.

    :raises CompressError: If it cannot be loaded here, or a batch is within no profile.
    """
    import torch

    trt = builder.module
    log = collecting_logger(trt)
    engine = trt.Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise CompressError(
            f"{path}: {builder.name} {builder.version} cannot load it on this GPU ({log.summary()}); build it here: "
            f"{json.loads(path.with_suffix('.json').read_text('utf-8'))['rebuild']}"
        )
    context, stream = engine.create_execution_context(), torch.cuda.Stream()
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]

    def profile_for(shape: tuple[int, ...]) -> int:
        for number in range(engine.num_optimization_profiles):
            low, _, high = engine.get_tensor_profile_shape(inputs[0], number)
            if all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
                return number
        raise CompressError(f"{path}: no profile holds a batch of shape {'x'.join(map(str, shape))}")

    def predict(arrays: dict[str, np.ndarray]) -> np.ndarray:
        context.set_optimization_profile_async(profile_for(arrays[inputs[0]].shape), stream.cuda_stream)
        # Held until the stream has been waited for: the engine knows their addresses only.
        tensors = {name: torch.from_numpy(np.ascontiguousarray(arrays[name])).cuda() for name in inputs}
        for name, tensor in tensors.items():
            context.set_input_shape(name, tuple(tensor.shape))
        outputs = {
            name: torch.empty(tuple(context.get_tensor_shape(name)), dtype=torch.float32, device="cuda")
            for name in task.OUTPUTS
        }
        for name, tensor in {**tensors, **outputs}.items():
            context.set_tensor_address(name, tensor.data_ptr())
        torch.cuda.current_stream().synchronize()
        if not context.execute_async_v3(stream.cuda_stream):
            raise CompressError(f"{path}: the engine failed ({log.summary()})")
        stream.synchronize()
        found = [outputs[name].cpu().numpy() for name in task.OUTPUTS]
        return found[0] if len(found) == 1 else np.stack(found, axis=-1)

    return predict
