"""TensorRT: an engine in, arrays out; on a GPU, with its arrays in PyTorch's memory.

Two modules with the same interface build and run engines: ``tensorrt`` for the GPU that is present, ``tensorrt_rtx``
ahead of time for named GPU generations.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from compress.errors import CompressError, UnavailableError
from compress.extras import require
from compress.runtimes.contract import Predict
from compress.tasks.contract import Task
from compress.variants.engine import EngineSidecar, read_sidecar

_INSTALL = "install the extra `trt-rtx` (ahead of time, no GPU needed) or, beside a GPU, `trt`"
_AHEAD_OF_TIME_LIBRARIES = ("libtensorrt_rtx.so.1.*", "libtensorrt_onnxparser_rtx.so.1.*")


@dataclass(frozen=True)
class EngineBuilder:
    """A TensorRT module, and whether it builds ahead of time."""

    name: str
    version: str
    module: ModuleType
    ahead_of_time: bool


def choose_builder() -> EngineBuilder:
    """The native builder where a GPU and ``tensorrt`` are present, otherwise the ahead-of-time one.

    :raises CompressError: If neither can be used, saying which extra to install.
    """
    if gpu_name() is not None and importlib.util.find_spec("tensorrt"):
        return _native_builder()
    return _ahead_of_time_builder()


def _native_builder() -> EngineBuilder:
    try:
        module = importlib.import_module("tensorrt")
    except ImportError as error:
        raise UnavailableError("TensorRT is not installed; install the extra `trt`") from error
    return EngineBuilder("TensorRT", module.__version__, module, ahead_of_time=False)


def _ahead_of_time_builder() -> EngineBuilder:
    module = _load_ahead_of_time()
    return EngineBuilder("TensorRT-RTX", module.__version__, module, ahead_of_time=True)


def gpu_name() -> str | None:
    """The first NVIDIA GPU that PyTorch sees; none where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def gpu_generation() -> int:
    """Compute capability of the first GPU times ten."""
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return 10 * major + minor


def runs_here(sidecar: EngineSidecar) -> bool:
    """Whether there is a GPU that the engine was built for."""
    return gpu_name() is not None and gpu_generation() in sidecar.sm


def load_engine(path: Path, task: Task) -> Predict:
    """Open an engine for the task's inputs and outputs, padded batches within one of its profiles.

    :raises UnavailableError: If there is no GPU that it was built for, or nothing to run it with.
    :raises CompressError: If it cannot be loaded here, or a batch is within no profile.
    """
    sidecar = read_sidecar(path)
    require(path.name, "pytorch")
    if not runs_here(sidecar):
        raise UnavailableError(f"{path.name}: needs a GPU of {sidecar.generations}")
    import torch

    builder = _ahead_of_time_builder() if sidecar.ahead_of_time else _native_builder()
    trt = builder.module
    log = collecting_logger(trt)
    engine = trt.Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise CompressError(
            f"{path}: {builder.name} {builder.version} cannot load it on this GPU ({log.summary()}); build it here: "
            f"{sidecar.rebuild}"
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
            for name in names
            if name not in inputs
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


def collecting_logger(trt: ModuleType) -> Any:
    """A logger that keeps errors and shows nothing: TensorRT writes many lines about one problem."""

    class Log(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps errors."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

        def summary(self) -> str:
            return self.errors[-1] if self.errors else "no reason was given"

    return Log()


def _load_ahead_of_time() -> ModuleType:
    """The bindings need NVIDIA's libraries in the process: the ONNX Runtime plug-in's wheel carries them."""
    carrier = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if not importlib.util.find_spec("tensorrt_rtx_bindings") or carrier is None or carrier.origin is None:
        raise UnavailableError(f"no TensorRT builder is installed; {_INSTALL}")
    try:
        for pattern in _AHEAD_OF_TIME_LIBRARIES:
            library = next(Path(carrier.origin).parent.glob(pattern))
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return importlib.import_module("tensorrt_rtx_bindings")
    except (OSError, StopIteration, ImportError) as error:
        raise UnavailableError(f"TensorRT-RTX cannot be loaded ({error}); {_INSTALL}") from error
