"""The extras of the installation: what a command needs beyond what serving needs, and what to install where it lacks.

An extra counts as installed where all modules that prove it can be found; none is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

from compress.errors import UnavailableError

Extra = Literal["cpu", "pytorch", "distill", "export", "bench", "serve"]

PROOF: Mapping[Extra, tuple[str, ...]] = {
    "cpu": ("onnxruntime",),  # `gpu` brings the same module
    "pytorch": ("torch",),
    "distill": ("torch", "accelerate", "datasets", "babel", "sklearn", "sentencepiece"),
    "export": ("torch", "accelerate", "datasets", "onnxscript", "onnx_ir", "cyclonedx", "jinja2", "matplotlib"),
    "bench": ("torch", "datasets", "onnx_ir", "jinja2", "matplotlib", "pytest_benchmark"),
    "serve": ("starlette", "uvicorn", "prometheus_client"),
}
"""Modules that an extra brings, those first that tell most."""

_SHOWN = 3


def require(command: str, *extras: Extra) -> None:
    """Refuse a command that cannot be done with what is installed.

    :param command: What the user asked for, as ``compress distill``.
    :param extras: All that it needs.
    :raises UnavailableError: If something lacks, naming the extras that bring it.
    """
    lacking = {extra: missing_modules(extra) for extra in extras}
    wanted = [extra for extra in extras if lacking[extra]]
    if not wanted:
        return
    modules = list(dict.fromkeys(module for extra in wanted for module in lacking[extra]))
    verb = "is" if len(modules) == 1 else "are"
    names = _and([f"`{extra}`" + (" (or `gpu`)" if extra == "cpu" else "") for extra in wanted])
    raise UnavailableError(
        f"{command}: needs {_and(_shortened(modules))}, which {verb} not installed; install the "
        f"extra{'s' if len(wanted) > 1 else ''} {names}: pip install 'compress-export[{','.join(wanted)}]'"
    )


def missing_modules(extra: Extra) -> list[str]:
    """Those of an extra's modules that are not installed."""
    return [module for module in PROOF[extra] if find_spec(module) is None]


def _shortened(names: Sequence[str]) -> list[str]:
    more = len(names) - _SHOWN
    return [*names[:_SHOWN], f"{more} more"] if more > 1 else list(names)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
