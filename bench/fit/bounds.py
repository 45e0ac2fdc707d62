"""What a student must keep within: two of latency, size and worst-language drop; the third is made its best."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field

from compress.contract import Contract
from compress.errors import CompressError

Objective = Literal["latency", "size", "drop"]
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_BYTES = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-zµ]*)\s*")


class FitBounds(Contract):
    """Two of the three; what is null is the objective."""

    latency_ms: float | None = Field(None, description="median at batch 1")
    size_bytes: int | None = None
    points: float | None = Field(None, description="that the worst language may lose against the teacher")

    @property
    def objective(self) -> Objective:
        """What is made as good as can be."""
        if self.latency_ms is None:
            return "latency"
        return "size" if self.size_bytes is None else "drop"

    @property
    def told(self) -> str:
        """For people."""
        parts = []
        if self.latency_ms is not None:
            parts.append(f"{self.latency_ms:g} ms")
        if self.size_bytes is not None:
            parts.append(f"{self.size_bytes / 1e6:g} MB")
        if self.points is not None:
            parts.append(f"a worst-language drop of {self.points:g} points")
        return " and ".join(parts)

    def allow(self, milliseconds: float, size: float, slack: float = 1.0) -> bool:
        """Whether latency and size are within what is bounded of them.

        :param slack: By what factor bounds may be missed.
        """
        quick = self.latency_ms is None or milliseconds <= slack * self.latency_ms
        return quick and (self.size_bytes is None or size <= slack * self.size_bytes)


def parse_bounds(max_latency: str | None, max_size: str | None, max_drop: float | None) -> FitBounds:
    """The bounds as a user writes them: ``2ms``, ``10MB``, ``1.0``.

    :raises CompressError: If they are not two, or one is no amount, has no unit that is known, or is beyond reason.
    """
    given = {"--max-latency": max_latency, "--max-size": max_size, "--max-drop": max_drop}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 2:
        raise CompressError(
            f"give two of --max-latency, --max-size and --max-drop (here: {', '.join(names) or 'none'}); the third is "
            "made as good as can be"
        )
    if max_drop is not None and not (math.isfinite(max_drop) and 0 <= max_drop <= 100):
        raise CompressError(f"--max-drop {max_drop:g}: points that a language may lose, from 0 to 100")
    return FitBounds(
        latency_ms=None if max_latency is None else _amount("--max-latency", max_latency, _MILLISECONDS, "2ms"),
        size_bytes=None if max_size is None else round(_amount("--max-size", max_size, _BYTES, "10MB")),
        points=max_drop,
    )


def _amount(option: str, text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    found = _AMOUNT.fullmatch(text)
    if found is None or found[2] not in units:
        known = ", ".join(units)
        raise CompressError(f"{option} {text:.40}: expected a number and a unit ({known}), for example {example}")
    amount = float(found[1]) * units[found[2]]
    if not amount > 0:
        raise CompressError(f"{option} {text:.40}: must be more than 0, for example {example}")
    return amount
