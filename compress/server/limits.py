"""What a server takes upon itself, and how it refuses what is more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compress.errors import CompressError


@dataclass(frozen=True)
class ServerLimits:
    """The most of everything.

    ``request_bytes`` and ``texts`` are of a request, ``characters`` of a text; ``waiting`` are the texts that wait for
    the model, ``batch`` those that run side by side; a text waits up to ``delay_ms`` for others to run with.
    """

    request_bytes: int = 4_000_000
    texts: int = 1024
    characters: int = 50_000
    waiting: int = 4096
    batch: int = 32
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        """:raises CompressError: If no request of the largest size could ever be answered."""
        if self.texts > self.waiting:
            raise CompressError(
                f"--max-texts {self.texts}: more than --max-waiting {self.waiting}: such a request would always be "
                "refused; raise the one or lower the other"
            )


@dataclass
class RefusedError(Exception):
    """A request that is not answered: in one line what is wrong and what to do, which field, and the HTTP status."""

    message: str
    status: int = 400
    parameter: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message


def busy(message: str) -> RefusedError:
    """For a request that may be asked again soon."""
    return RefusedError(message, 503, headers={"Retry-After": "1"})
