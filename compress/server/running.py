"""Starting a server on an address, and stopping it: what it has begun to answer it finishes."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import uvicorn

from compress.console import say
from compress.errors import CompressError
from compress.server.application import Routes
from compress.server.joining import Joiner
from compress.server.limits import ServerLimits
from compress.server.monitoring import Monitoring
from compress.serving.client import Model
from compress.serving.format import CanaryRow
from compress.serving.tensors import answers_to, read_inputs
from compress.tasks.registry import task_named
from compress.tasks.rows import Row

_SECONDS_TO_FINISH = 30  # what a client that stops reading or sending may hold up the end
_CONNECTIONS = 1000
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Address:
    """An address that this process holds, before it takes connections there."""

    bound: socket.socket
    url: str


@contextmanager
def held_address(host: str, port: int) -> Iterator[Address]:
    """Hold an address, so that what is wrong with it is known before anything long starts.

    :param port: 0 for any that is free.
    :raises CompressError: If it cannot be had.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise CompressError(f"--host {host}: there is no such address; 127.0.0.1 is this machine's own") from error
    with bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(place)
        except OSError as error:
            raise CompressError(f"--host {host} --port {port}: {error.strerror}; choose another") from error
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        yield Address(bound, f"http://{shown}:{bound.getsockname()[1]}")


def warm_up(model: Model, row: CanaryRow) -> None:
    """Let a model answer once before others wait for it.

    :raises CompressError: If it does not.
    """
    question = task_named(model.description.task).question(Row(**dict(row)))
    answers_to(model, read_inputs(model, {name: [text] for name, text in question.items()}))


def run_server(model: Model, address: Address, limits: ServerLimits) -> dict[int, int]:
    """Answer until SIGTERM or Ctrl-C, then finish what has begun.

    :return: How many requests were answered, by HTTP status.
    """
    return asyncio.run(_serve(model, address, limits))


async def _serve(model: Model, address: Address, limits: ServerLimits) -> dict[int, int]:
    monitoring = Monitoring(model.description)
    async with Joiner(partial(answers_to, model), limits, monitoring) as joiner:
        config = uvicorn.Config(
            Routes(model, joiner, limits, monitoring).application(),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        server = uvicorn.Server(config)
        with _stopped_by_signals(server):
            address.bound.listen()
            say(f"serve: {model.description.name} answers on {address.url}; Ctrl-C or SIGTERM ends it")
            await server.serve([address.bound])
    say("serve: all that had begun is answered")
    return dict(monitoring.statuses)


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Before uvicorn catches signals, and when it raises them again at its end, they are no reason to fail."""

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
