"""What this machine can build and run, and what to install for the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import psutil
from rich.table import Table
from rich.text import Text

from compress.console import table
from compress.contract import Contract
from compress.extras import missing_modules
from compress.machine import cpu_features, gpus
from compress.models.tokenizers import sentencepiece_problem
from compress.targets import resolve_target

_PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "protobuf", "accelerate", "datasets", "onnx",
             "onnxscript", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt-rtx-cu13-bindings",
             "onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-extensions", "model-signing", "starlette", "uvicorn",
             "prometheus-client")  # fmt: skip


class Ability(Contract):
    """Something the toolchain does, whether this machine can do it, and what is missing."""

    what: str
    available: bool
    note: str


class MachineInfo(Contract):
    """What this machine is."""

    system: str
    python: str
    processors: int
    memory_bytes: int
    free_disk_bytes: int
    cpu: str
    cpu_features: list[str]
    target: str
    gpus: list[str]
    gpu_targets: list[str]


class DoctorReport(Contract):
    """Of `compress doctor`."""

    machine: MachineInfo
    packages: dict[str, str | None]
    abilities: list[Ability]


def examine(output: Path) -> DoctorReport:
    """Look at processor, memory, disk, GPUs and installed packages."""
    features, found = cpu_features(), gpus()
    return DoctorReport(
        machine=MachineInfo(
            system=platform.platform(),
            python=platform.python_version(),
            processors=len(os.sched_getaffinity(0)),
            memory_bytes=psutil.virtual_memory().total,
            free_disk_bytes=shutil.disk_usage(_existing(output)).free,
            cpu=features.cpu_name,
            cpu_features=features.present,
            target=resolve_target("auto").name,
            gpus=found,
            gpu_targets=sorted({f"cuda-sm{gpu.split(', ')[1].replace('.', '')}" for gpu in found}),
        ),
        packages={name: _version(name) for name in _PACKAGES},
        abilities=_abilities(bool(found)),
    )


def doctor_tables(report: DoctorReport) -> list[Table]:
    """Three tables: machine, packages, abilities."""
    machine: list[tuple[str, str]] = []
    for name, value in report.machine:
        label = name.removesuffix("_bytes").replace("_", " ")
        shown = f"{value / 2**30:.1f} GiB" if name.endswith("_bytes") else value
        machine.append((label, ", ".join(shown) or "none" if isinstance(shown, list) else str(shown)))
    packages = [(name, version or Text("not installed", "dim")) for name, version in report.packages.items()]
    yes, no = Text("yes", "green"), Text("no", "yellow")
    abilities = [(ability.what, yes if ability.available else no, ability.note) for ability in report.abilities]
    return [
        table("Machine", ("", ""), machine, left=2),
        table("Packages", ("package", "version"), packages, left=2),
        table("What works here", ("", "", "note"), abilities, left=3),
    ]


def _abilities(gpu: bool) -> list[Ability]:
    runtime = importlib.util.find_spec("onnxruntime") is not None
    bits = "7-bit weights, as this CPU has no VNNI" if resolve_target("auto").reduce_range else "8-bit weights"
    distills, exports, measures = (not missing_modules(extra) for extra in ("distill", "export", "bench"))
    openvino = exports and importlib.util.find_spec("openvino") is not None
    bf16 = resolve_target("auto").bf16
    install_bf16 = "install the extras `export` and `openvino`" if bf16 else "needs AVX512_BF16 or AMX_BF16"
    native = exports and gpu and importlib.util.find_spec("tensorrt") is not None
    ahead = exports and all(
        importlib.util.find_spec(name) for name in ("tensorrt_rtx_bindings", "onnxruntime_ep_nv_tensorrt_rtx")
    )
    serves = runtime and not missing_modules("serve")
    text, signs = (importlib.util.find_spec(name) is not None for name in ("onnxruntime_extensions", "model_signing"))
    install_distill, install_export = "install the extra `distill`", "install the extras `export` and `cpu`"
    sentencepiece = sentencepiece_problem() if distills else install_distill
    cuda = gpu and _version("onnxruntime-gpu") is not None
    install_gpu = "install the extra `gpu`" if gpu else "needs an NVIDIA GPU and the extra `gpu`"
    install_native = "install the extras `export` and `trt`" if gpu else "needs an NVIDIA GPU and the extra `trt`"
    install_cpu = "install the extra `cpu`"
    return [
        Ability(what="distil on the CPU", available=distills, note="PyTorch" if distills else install_distill),
        Ability(
            what="distil on a GPU",
            available=gpu and distills,
            note="PyTorch" if gpu and distills else "needs an NVIDIA GPU, the extra `distill` and torch for CUDA",
        ),
        Ability(
            what="export to ONNX and check it",
            available=exports and runtime,
            note="ONNX Runtime" if exports and runtime else install_export,
        ),
        Ability(
            what="quantise to int8 for this CPU",
            available=exports and runtime,
            note=bits if exports and runtime else install_export,
        ),
        Ability(
            what="measure, and compare with a baseline",
            available=measures and runtime,
            note="the report and the gate" if measures and runtime else "install the extras `bench` and `cpu`",
        ),
        Ability(
            what="verify bundles, load them, ask their models",
            available=runtime,
            note="ONNX Runtime" if runtime else install_cpu,
        ),
        Ability(
            what="serve bundles over HTTP",
            available=serves,
            note="Starlette and uvicorn" if serves else "install the extras `serve` and `cpu`",
        ),
        Ability(
            what="quantise to int8 for OpenVINO",
            available=openvino,
            note="OpenVINO" if openvino else "install the extras `export` and `openvino`",
        ),
        Ability(
            what="calculate in bf16 with OpenVINO",
            available=openvino and bf16,
            note="OpenVINO" if openvino and bf16 else install_bf16,
        ),
        Ability(what="run ONNX on a GPU", available=cuda, note="ONNX Runtime with CUDA" if cuda else install_gpu),
        Ability(
            what="build TensorRT engines for this GPU", available=native, note="TensorRT" if native else install_native
        ),
        Ability(
            what="build TensorRT engines ahead of time",
            available=ahead,
            note="TensorRT-RTX, no GPU needed" if ahead else "install the extras `export` and `trt-rtx`",
        ),
        Ability(
            what="read tokenizers of SentencePiece files",
            available=sentencepiece is None,
            note=sentencepiece or "sentencepiece and protobuf, for folders without tokenizer.json",
        ),
        Ability(
            what="put tokenizers into graphs",
            available=text,
            note="onnxruntime-extensions, byte-level tokenizers" if text else "install the extra `text`",
        ),
        Ability(
            what="sign bundles and check signatures",
            available=signs,
            note="model-signing" if signs else "install the extra `sign`",
        ),
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
