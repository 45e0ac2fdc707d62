"""What this machine is."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_INTEL = "GenuineIntel"


@dataclass(frozen=True)
class CpuFeatures:
    """A processor: its architecture as `platform.machine` tells it, its name and maker, and instructions that matter
    here."""

    architecture: str
    cpu_name: str
    vendor: str = ""
    avx2: bool = False
    avx512_f: bool = False
    avx512_vnni: bool = False
    avx_vnni: bool = False
    avx512_bf16: bool = False
    amx_bf16: bool = False
    amx_int8: bool = False

    @property
    def against_bf16(self) -> str | None:
        """Why products are better computed in 32 bits than in bf16, in words; none where they are not, or nothing is
        known."""
        if self.architecture != "x86_64" or self.amx_bf16:
            return None
        if not self.avx512_bf16:
            return "does not multiply in bf16, which would take many times as long"
        # Intel's VDPBF16PS adds up as many products a cycle as its two units for 32 bits do (https://uops.info), AMD's
        # twice as many; a product of PyTorch 2.13 in bf16 takes twice as long there.
        return "multiplies in bf16 no faster than in 32 bits, as it has no AMX" if self.vendor == _INTEL else None

    @property
    def present(self) -> list[str]:
        """Names of the instructions that it has."""
        return [field.name for field in fields(self) if getattr(self, field.name) is True]


@cache
def cpu_features() -> CpuFeatures:
    """This machine's processor, by what Linux says of it.

    Read from there, as whoever verifies or serves a bundle has no PyTorch; archspec knows microarchitectures, but does
    not tell which instructions are there. On other systems no instructions are known, which gives the careful target.
    """
    text = _CPUINFO.read_text("utf-8", errors="replace") if _CPUINFO.exists() else ""
    return parse_cpuinfo(text, platform.machine())


def parse_cpuinfo(text: str, architecture: str) -> CpuFeatures:
    """The first processor of ``/proc/cpuinfo``.

    :param architecture: As `platform.machine` tells it.
    """
    first = (line.partition(":") for line in text.strip().partition("\n\n")[0].splitlines())
    told = {name.strip(): value.strip() for name, _, value in first}
    flags = set(told.get("flags", "").split())
    return CpuFeatures(
        architecture,
        told.get("model name") or platform.processor() or architecture,
        told.get("vendor_id", ""),
        avx2="avx2" in flags,
        avx512_f="avx512f" in flags,
        avx512_vnni="avx512_vnni" in flags,
        avx_vnni="avx_vnni" in flags,
        avx512_bf16="avx512_bf16" in flags,
        amx_bf16="amx_bf16" in flags,
        amx_int8="amx_int8" in flags,
    )


def gpus() -> list[str]:
    """The GPUs as NVIDIA's driver tells them, whatever build of PyTorch is installed: name, compute capability and
    memory, separated by commas."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    answer = subprocess.run(  # noqa: S603
        [program, "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()] if answer.returncode == 0 else []
