"""TensorRT engines, by one builder for two modules with the same interface.

``tensorrt`` builds for the GPU that is present. ``tensorrt_rtx`` builds ahead of time for named GPU generations, with
no GPU at all. Both are strongly typed: precision comes from the ONNX graph. What else differs stands in `DIFFERENCES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.recipe.export import Profile, TensorRT
from compress.runs.files import file_sha256, write_json
from compress.runtimes.tensorrt import EngineBuilder, gpu_generation, gpu_name
from compress.variants.engine import BatchAndLength, EngineOptions, EngineSidecar, EngineTensor, ProfileRange
from compress.variants.registry import EnginePrecision
from export.tensorrt.network import parse_graph
from export.tensorrt.profiles import Input, check_axes, rebuild_command, trtexec_command

_DEFAULT_GENERATIONS = (80, 86, 89, 120)


@dataclass(frozen=True)
class Difference:
    """What an option means to each of the two builders; none: it is refused, for the reason that is given."""

    native: str | None
    ahead_of_time: str | None
    reason: str = ""
    needs_gpu: bool = False


DIFFERENCES = {
    "sm": Difference("the GPU that is present", "one engine for all generations that are named"),
    "workspace_mb": Difference("limit for each layer", "limit for each layer"),
    "optimization_level": Difference("0 to 5", "0 to 5"),
    "version_compatible": Difference(
        "later versions load the engine, a little slower", None, "its engines are for the version that built them"
    ),
    "hardware_compatible": Difference(
        "GPUs from Ampere on", None, "its engines run on every generation that `sm` names; name those"
    ),
    "refit": Difference("weights can be exchanged", "weights can be exchanged", needs_gpu=True),
    "strip_weights": Difference("weights are refitted on the target", "the same", needs_gpu=True),
    "timing cache": Difference("kept beside the runs, makes rebuilding fast", None, "nothing is timed: it is not used"),
}
"""Options of both builders, and what is not an option but differs too. Where TensorRT-RTX is said to need a GPU, its
version 1.7 was seen to fail without one."""


@dataclass(frozen=True)
class EngineRequest:
    """What an engine is built from, and how.

    ``parent`` is the variant or folder of the graph; ``settings`` leave nothing open (`export.tensorrt.settings`);
    ``timing_cache`` is read and written by the native builder.
    """

    graph: Path
    parent: str
    precision: EnginePrecision
    settings: TensorRT
    timing_cache: Path | None = None

    @property
    def name(self) -> str:
        """Of the engine's file, without its ending."""
        stem = "student" if self.graph.stem == "model" else self.graph.stem.replace("_model", "")
        return f"{stem}-{self.precision}"


def check_options(builder: EngineBuilder, settings: TensorRT) -> None:
    """Refuse what the builder does not know.

    :raises CompressError: Naming the option, the builder and why.
    """
    for name, difference in DIFFERENCES.items():
        if not getattr(settings, name, None):
            continue
        if (difference.ahead_of_time if builder.ahead_of_time else difference.native) is None:
            raise CompressError(
                f"export.tensorrt.{name}: {builder.name} {builder.version} has no such engines: {difference.reason}"
            )
        if builder.ahead_of_time and difference.needs_gpu and gpu_name() is None:
            raise CompressError(
                f"export.tensorrt.{name}: {builder.name} {builder.version} builds such engines only beside a GPU; "
                "leave it out, or build on the target"
            )
    generations(builder, settings)


def generations(builder: EngineBuilder, settings: TensorRT) -> list[int]:
    """The GPU generations that an engine will run on.

    :raises CompressError: If the builder does not know one of them.
    """
    if not builder.ahead_of_time:
        return [gpu_generation()]
    known = {int(name.removeprefix("SM")) for name in builder.module.ComputeCapability.__members__ if name[:2] == "SM"}
    wanted = sorted(set(settings.sm or _DEFAULT_GENERATIONS))
    if unknown := sorted(set(wanted) - known):
        raise CompressError(
            f"--sm {','.join(map(str, unknown))}: {builder.name} {builder.version} builds for "
            f"{', '.join(map(str, sorted(known)))}"
        )
    return wanted


def build_engine(builder: EngineBuilder, request: EngineRequest, folder: Path) -> EngineSidecar:
    """Build one engine and write it with its sidecar, ``<name>.engine`` and ``<name>.json``.

    :raises CompressError: With the node and the reason, where TensorRT refuses the graph.
    """
    trt_builder, network, _, log = parse_graph(builder, request.graph)
    config = trt_builder.create_builder_config()
    configure(builder, config, request.settings)
    for profile in request.settings.profiles or ():
        _add_profile(trt_builder, network, config, profile, request.graph)
    _read_timing_cache(builder, config, request.timing_cache)
    engine = trt_builder.build_serialized_network(network, config)
    if engine is None:
        raise CompressError(f"tensorrt: {request.graph} cannot be built: {log.summary()}")
    _write_timing_cache(builder, config, request.timing_cache)
    path = folder / f"{request.name}.engine"
    path.write_bytes(memoryview(engine))
    sidecar = _sidecar(builder, network, request, path)
    write_json(path.with_suffix(".json"), sidecar.model_dump(mode="json"))
    return sidecar


def configure(builder: EngineBuilder, config: Any, settings: TensorRT) -> None:
    """Carry the options over to a module's builder configuration."""
    trt = builder.module
    flags = trt.BuilderFlag
    if builder.ahead_of_time:
        wanted = generations(builder, settings)
        config.num_compute_capabilities = len(wanted)
        for index, generation in enumerate(wanted):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{generation}"), index)
    if settings.workspace_mb:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.version_compatible:
        config.set_flag(flags.VERSION_COMPATIBLE)
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if settings.strip_weights:
        config.set_flag(flags.STRIP_PLAN)
    if settings.refit:
        config.set_flag(flags.REFIT)
    elif settings.strip_weights:
        # The weights come back as they were. REFIT, for any weights, may drop a bias (known issue of TensorRT 11.3).
        config.set_flag(flags.REFIT_IDENTICAL)


def _inputs(network: Any) -> list[Input]:
    found = []
    for tensor in (network.get_input(index) for index in range(network.num_inputs)):
        shape = list(tensor.shape)
        names = [tensor.get_dimension_name(axis) if size < 0 else "" for axis, size in enumerate(shape)]
        found.append(Input(tensor.name, shape, names))
    return found


def _add_profile(trt_builder: Any, network: Any, config: Any, profile: Profile, graph: Path) -> None:
    inputs = _inputs(network)
    check_axes(graph, inputs, profile)
    optimisation = trt_builder.create_optimization_profile()
    for value in inputs:
        optimisation.set_shape(value.name, *zip(*value.ranges(profile), strict=True))
    if config.add_optimization_profile(optimisation) < 0:
        raise CompressError(f"tensorrt: profile {profile.model_dump()} is refused (export.tensorrt.profiles)")


def _read_timing_cache(builder: EngineBuilder, config: Any, path: Path | None) -> None:
    if path is not None and not builder.ahead_of_time:
        config.set_timing_cache(config.create_timing_cache(path.read_bytes() if path.exists() else b""), False)


def _write_timing_cache(builder: EngineBuilder, config: Any, path: Path | None) -> None:
    if path is not None and not builder.ahead_of_time:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(memoryview(config.get_timing_cache().serialize()))
        partial.replace(path)


def _sidecar(builder: EngineBuilder, network: Any, request: EngineRequest, path: Path) -> EngineSidecar:
    settings, graph = request.settings, f"{request.parent}/{request.graph.name}"
    return EngineSidecar(
        engine=path.name,
        builder=builder.name,
        version=builder.version,
        ahead_of_time=builder.ahead_of_time,
        gpu=None if builder.ahead_of_time else gpu_name(),
        sm=generations(builder, settings),
        precision=request.precision,
        profiles=[_profile_range(profile) for profile in settings.profiles or ()],
        options=EngineOptions(**settings.model_dump(exclude={"enabled", "precisions", "profiles", "sm"})),
        inputs=[_tensor(network.get_input(index)) for index in range(network.num_inputs)],
        outputs=[_tensor(network.get_output(index)) for index in range(network.num_outputs)],
        bytes=path.stat().st_size,
        sha256=file_sha256(path),
        parent=request.parent,
        parent_sha256=file_sha256(request.graph),
        rebuild=rebuild_command(graph, request.precision, settings),
        trtexec=trtexec_command(graph, path.name, _inputs(network), settings),
    )


def _profile_range(profile: Profile) -> ProfileRange:
    edges = zip(profile.batch, profile.length, strict=True)
    minimum, optimum, maximum = (BatchAndLength(batch=batch, length=length) for batch, length in edges)
    return ProfileRange(minimum=minimum, optimum=optimum, maximum=maximum)


def _tensor(tensor: Any) -> EngineTensor:
    return EngineTensor(name=tensor.name, type=tensor.dtype.name.lower(), shape=list(tensor.shape))
