"""The routes of a server: KServe's protocol, version 2, OpenAI's for vectors, and what Prometheus reads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compress.console import log_error, plain, say
from compress.errors import CompressError
from compress.runs.versions import program_version
from compress.server import embeddings, kserve
from compress.server.joining import Joiner
from compress.server.limits import RefusedError, ServerLimits
from compress.server.monitoring import Monitoring
from compress.server.reading import BodyReader
from compress.serving.client import Model, TextRead
from compress.serving.tensors import output_arrays, read_inputs

_Found = TypeVar("_Found")
_Answer = Callable[["Routes", Request], Awaitable[Response]]
_OPENAI = "/v1/"
_LONGEST_NAME = 100
_CLIENT_GONE = 499  # as nginx calls it; nobody reads it but Prometheus


class Routes:
    """What is answered on each route; a request is read in one thread, its texts run in the joiner's."""

    def __init__(self, model: Model, joiner: Joiner, limits: ServerLimits, monitoring: Monitoring):
        self._model, self._joiner, self._limits, self._monitoring = model, joiner, limits, monitoring
        self._bodies = BodyReader(limits)
        self._thread = ThreadPoolExecutor(1, "reading")

    def application(self) -> Starlette:
        """The ASGI application."""
        routes = [
            ("/v2", "GET", Routes.server),
            ("/v2/health/live", "GET", Routes.live),
            ("/v2/health/ready", "GET", Routes.ready),
            ("/v2/models/{name}", "GET", Routes.metadata),
            ("/v2/models/{name}/ready", "GET", Routes.model_ready),
            ("/v2/models/{name}/infer", "POST", Routes.infer),
            ("/v1/embeddings", "POST", Routes.embed),
            ("/metrics", "GET", Routes.metrics),
        ]
        return Starlette(
            routes=[Route(path, self._answered(path, answer), methods=[method]) for path, method, answer in routes],
            exception_handlers={HTTPException: _no_such_route},
        )

    async def server(self, request: Request) -> Response:
        """What serves, and which extensions of the protocol it knows."""
        return JSONResponse({"name": "compress", "version": program_version(), "extensions": ["binary_tensor_data"]})

    async def live(self, request: Request) -> Response:
        """That it answers."""
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether it takes questions."""
        return JSONResponse({"ready": self._joiner.is_running}, 200 if self._joiner.is_running else 503)

    async def model_ready(self, request: Request) -> Response:
        """Whether it takes questions to the model."""
        self._check_name(request)
        return await self.ready(request)

    async def metadata(self, request: Request) -> Response:
        """What the model is asked with and answers with."""
        self._check_name(request)
        return JSONResponse(kserve.metadata(self._model.description))

    async def infer(self, request: Request) -> Response:
        """Answers as tensors."""
        self._check_name(request)
        described, header = self._model.description, request.headers.get(kserve.HEADER_LENGTH)

        def read(body: bytes) -> tuple[kserve.Question, list[TextRead]]:
            question = kserve.read_request(body, header, described, self._limits)
            return question, read_inputs(self._model, question.texts)

        async with self._bodies.body_of(request) as body:
            question, texts = await self._beside(partial(read, body))
        answers = await self._asked(request, texts)
        content, length = await self._beside(lambda: kserve.response(question, described.name, output_arrays(answers)))
        if length is None:
            return Response(content, media_type="application/json")
        return Response(content, headers={kserve.HEADER_LENGTH: str(length)}, media_type="application/octet-stream")

    async def embed(self, request: Request) -> Response:
        """Vectors, as OpenAI's clients read them."""
        described = self._model.description

        def read(body: bytes) -> tuple[embeddings.VectorsQuestion, list[TextRead]]:
            question = embeddings.read_embeddings_request(body, described, self._limits)
            return question, self._model.read(question.texts, kind=question.kind)

        async with self._bodies.body_of(request) as body:
            question, texts = await self._beside(partial(read, body))
        vectors = np.stack(await self._asked(request, texts))

        def response() -> bytes:
            return json.dumps(embeddings.embeddings_response(question, described, texts, vectors)).encode()

        return Response(await self._beside(response), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        """What Prometheus reads."""
        return Response(self._monitoring.page(), media_type=CONTENT_TYPE_LATEST)

    def _check_name(self, request: Request) -> None:
        named, name = request.path_params["name"], self._model.description.name
        if named != name:
            raise RefusedError(f"model {named!r:.100}: there is {name} alone", 404, "model")

    async def _beside(self, work: Callable[[], _Found]) -> _Found:
        """Do what takes long beside the requests that come meanwhile.

        :raises RefusedError: In place of a `CompressError`: what is read is the client's.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except CompressError as error:
            raise RefusedError(str(error).removeprefix("predict: ").removeprefix("encode: ")) from error

    async def _asked(self, request: Request, texts: list[TextRead]) -> list[Any]:
        """The answers to texts, while there is somebody to read them."""
        answers = asyncio.ensure_future(self._joiner.ask(texts))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({answers, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answers.done():
                raise ClientDisconnect
            return answers.result()
        finally:
            answers.cancel()
            gone.cancel()

    def _answered(self, route: str, answer: _Answer) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer a request whatever happens, and count it."""

        async def answered(request: Request) -> Response:
            began = time.monotonic()
            try:
                found = await answer(self, request)
            except RefusedError as error:
                found = _error(route, error.status, error.message, error.parameter, error.headers)
            except ClientDisconnect:
                found = Response(status_code=_CLIENT_GONE)
            except Exception as error:  # the server lives on
                log_error(error)
                say(f"serve: {route}: {type(error).__name__}: {error}")
                ours = str(error) if isinstance(error, CompressError) else "this is the server's mistake, see its log"
                found = _error(route, 500, ours)
            self._monitoring.answered(route, found.status_code, time.monotonic() - began)
            return found

        return answered


async def _gone(request: Request) -> None:
    """Return once the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _no_such_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    told = "there is no such route; see /v2" if status == 404 else f"{request.method}: this route has another method"
    headers = error.headers if isinstance(error, HTTPException) else None
    return _error(request.url.path, status, told, headers=headers)


def _error(
    route: str,
    status: int,
    message: str,
    parameter: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as the route's clients read it."""
    told = plain(message)
    if not route.startswith(_OPENAI):
        return JSONResponse({"error": told}, status, headers)
    parameter = None if parameter is None else plain(parameter)[:_LONGEST_NAME]
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": told, "type": kind, "param": parameter, "code": None}}, status, headers)
