"""Reading what a request says: its bytes, its JSON, and texts within their limits."""

from __future__ import annotations

import asyncio
import json
import reprlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from compress.errors import first_problem
from compress.server.limits import RefusedError, ServerLimits, busy

_SECONDS = 30.0  # in which a request's body must be there
_DISCARDED = 16  # times the limit that is still read of a request that is too large: clients read no answer before
_AT_ONCE = 16  # times the limit that all requests may hold together
_Body = TypeVar("_Body", bound=BaseModel)


class BodyReader:
    """Reads the bodies of requests, which together may hold only so much memory."""

    def __init__(self, limits: ServerLimits):
        self._limits = limits
        self._held = 0

    @asynccontextmanager
    async def body_of(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, while the block reads it.

        :raises RefusedError: If it is too large or too slow, or others hold too much already.
        """
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(_SECONDS):
                await self._read(request, parts)
            yield b"".join(parts)
        except TimeoutError as error:
            message = f"the request was not there within {_SECONDS:.0f} s; send it at once"
            raise RefusedError(message, 408, headers={"Connection": "close"}) from error
        finally:
            self._held -= sum(map(len, parts))

    async def _read(self, request: Request, parts: list[bytes]) -> None:
        size, most = 0, self._limits.request_bytes
        async for part in request.stream():
            size += len(part)
            if size > _DISCARDED * most:
                break
            if size <= most:
                parts.append(part)
                self._held += len(part)
            if self._held > _AT_ONCE * most:
                raise busy("other requests are being read; ask again later")
        if size > most:
            told = f"the request is larger than {most:,} bytes; send fewer or shorter texts"
            raise RefusedError(told, 413, headers={"Connection": "close"})


def parsed(body: bytes, model: type[_Body]) -> _Body:
    """A request's JSON.

    :raises RefusedError: If it is none, or not as it must be; naming the first field that is not.
    """
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the request is not JSON ({str(error) or type(error).__name__:.200})") from error
    try:
        return model.model_validate(content, strict=True)
    except ValidationError as error:
        parameter = ".".join(map(str, error.errors()[0]["loc"])) or None
        raise RefusedError(f"{first_problem(error):.500}", parameter=parameter) from error


def checked_texts(name: str, texts: Sequence[Any], limits: ServerLimits) -> list[str]:
    """Texts of a request that are texts, and not too many or too long.

    :param name: Of the field that they come in.
    :raises RefusedError: Naming the field and the first text that is none, or too long.
    """
    if not texts:
        raise RefusedError(f"{name}: there are no texts; give at least one", parameter=name)
    if len(texts) > limits.texts:
        raise RefusedError(
            f"{name}: {len(texts):,} texts, {limits.texts:,} may be in a request; send several", parameter=name
        )
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise RefusedError(f"{name}: text {number} must be text, got {reprlib.repr(text)}", parameter=name)
        if len(text) > limits.characters:
            raise RefusedError(
                f"{name}: text {number} has {len(text):,} characters, {limits.characters:,} are allowed; shorten it",
                parameter=name,
            )
    return list(texts)
