"""TensorRT engines, by one builder for two modules with the same interface.

``tensorrt`` builds for the GPU that is present. ``tensorrt_rtx`` builds ahead of time for named GPU generations, with
no GPU at all. Both are strongly typed: precision comes from the ONNX graph.
"""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from compress.errors import CompressError
from compress.recipe import Profile, TensorRT
from compress.run import file_sha256, write_json

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
        import tensorrt

        return EngineBuilder("TensorRT", tensorrt.__version__, tensorrt, ahead_of_time=False)
    module = _load_ahead_of_time()
    return EngineBuilder("TensorRT-RTX", module.__version__, module, ahead_of_time=True)


def gpu_name() -> str | None:
    """The first NVIDIA GPU that PyTorch sees."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def build_engine(
    builder: EngineBuilder, onnx_path: Path, folder: Path, settings: TensorRT, parent: str
) -> dict[str, Any]:
    """Build one engine and write it with its sidecar, ``<name>.engine`` and ``<name>.json``.

    :return: The sidecar's content.
    :raises CompressError: With the node and the reason, where TensorRT refuses the graph.
    """
    trt = builder.module
    log = _collecting_logger(trt)
    trt_builder = trt.Builder(log)
    network = trt_builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx_path)):
        raise CompressError(f"tensorrt: {onnx_path} cannot be built: {_parser_problem(parser, log)}")
    config = trt_builder.create_builder_config()
    generations = _set_generations(builder, config, settings.sm)
    for profile in settings.profiles:
        _add_profile(trt_builder, network, config, profile)
    engine = trt_builder.build_serialized_network(network, config)
    if engine is None:
        raise CompressError(f"tensorrt: {onnx_path} cannot be built: {log.summary()}")
    name = "student" if onnx_path.stem == "model" else onnx_path.stem.replace("_model", "")
    path = folder / f"{name}-{settings.precision}.engine"
    path.write_bytes(memoryview(engine))
    sidecar = _sidecar(builder, network, settings, generations, path, onnx_path, parent)
    write_json(path.with_suffix(".json"), sidecar)
    return sidecar


def _load_ahead_of_time() -> ModuleType:
    """The bindings need NVIDIA's libraries in the process: the ONNX Runtime plug-in's wheel carries them."""
    carrier = importlib.util.find_spec("onnxruntime_ep_nv_tensorrt_rtx")
    if not importlib.util.find_spec("tensorrt_rtx_bindings") or carrier is None or carrier.origin is None:
        raise CompressError(f"--trt: no TensorRT builder is installed; {_INSTALL}")
    try:
        for pattern in _AHEAD_OF_TIME_LIBRARIES:
            library = next(Path(carrier.origin).parent.glob(pattern))
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        import tensorrt_rtx_bindings
    except (OSError, StopIteration, ImportError) as error:
        raise CompressError(f"--trt: TensorRT-RTX cannot be loaded ({error}); {_INSTALL}") from None
    return tensorrt_rtx_bindings


def _network_flags(trt: ModuleType) -> int:
    """Strong typing, which newer versions know no alternative to."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _set_generations(builder: EngineBuilder, config: Any, wanted: list[int]) -> list[int]:
    """Name the GPU generations of an ahead-of-time engine; a native one is for the GPU that is present."""
    if not builder.ahead_of_time:
        import torch

        major, minor = torch.cuda.get_device_capability(0)
        return [10 * major + minor]
    known = {
        int(name.removeprefix("SM")): value
        for name, value in builder.module.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise CompressError(
            f"--sm {','.join(map(str, unknown))}: {builder.name} {builder.version} builds for "
            f"{', '.join(map(str, sorted(known)))}"
        )
    generations = sorted(set(wanted))
    config.num_compute_capabilities = len(generations)
    for index, generation in enumerate(generations):
        config.set_compute_capability(known[generation], index)
    return generations


def _add_profile(trt_builder: Any, network: Any, config: Any, profile: Profile) -> None:
    optimisation = trt_builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        ranges = [_range(tensor, axis, profile) for axis in range(len(tensor.shape))]
        optimisation.set_shape(tensor.name, *zip(*ranges, strict=True))
    if config.add_optimization_profile(optimisation) < 0:
        raise CompressError(f"tensorrt: profile {profile.model_dump()} is refused (export.tensorrt.profiles)")


def _range(tensor: Any, axis: int, profile: Profile) -> tuple[int, int, int]:
    """Minimum, optimum and maximum of one axis: the batch is named so, any other that varies is a length."""
    size = tensor.shape[axis]
    if size >= 0:
        return size, size, size
    return profile.batch if tensor.get_dimension_name(axis) == "batch_size" else profile.length


def _sidecar(
    builder: EngineBuilder,
    network: Any,
    settings: TensorRT,
    generations: list[int],
    path: Path,
    onnx_path: Path,
    parent: str,
) -> dict[str, Any]:
    return {
        "engine": path.name,
        "builder": builder.name,
        "version": builder.version,
        "ahead_of_time": builder.ahead_of_time,
        "gpu": None if builder.ahead_of_time else gpu_name(),
        "sm": generations,
        "precision": settings.precision,
        "profiles": [
            {
                edge: {"batch": profile.batch[position], "length": profile.length[position]}
                for position, edge in enumerate(("minimum", "optimum", "maximum"))
            }
            for profile in settings.profiles
        ],
        "inputs": [_tensor(network.get_input(index)) for index in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(index)) for index in range(network.num_outputs)],
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "parent": parent,
        "parent_sha256": file_sha256(onnx_path),
    }


def _tensor(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.dtype.name.lower(), "shape": list(tensor.shape)}


def _collecting_logger(trt: ModuleType) -> Any:
    class Log(trt.ILogger):  # type: ignore[name-defined]
        """Keeps errors and shows nothing: TensorRT writes many lines about one problem."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message.strip())

        def summary(self) -> str:
            return self.errors[-1] if self.errors else "no reason was given"

    return Log()


def _parser_problem(parser: Any, log: Any) -> str:
    if not parser.num_errors:
        return log.summary()
    error = parser.get_error(0)
    reason = " ".join(error.desc().split())
    return f"node '{error.node_name()}' ({error.node_operator()}): {reason}"
