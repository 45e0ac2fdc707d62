"""Texts of many requests in one batch: those that wait are joined by length, so that hardly any token is padding.

One batch runs at a time, as it has all threads of the model; while it runs, others come. Requests take turns in which
the first of a batch is theirs: one with a thousand texts does not keep one with a single text waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from compress.data.batches import joined_with_first
from compress.server.limits import ServerLimits, busy
from compress.server.monitoring import Monitoring
from compress.serving.client import TextRead

_LOOKED_AT = 1024  # texts that wait, of which those of like length are chosen: more are hardly any closer
Say = Callable[[Sequence[TextRead]], Sequence[Any]]
"""What a model says of each text."""


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A text that waits, since when by the clock, and the answer to be."""

    text: TextRead
    since: float
    answer: asyncio.Future[Any]


class Joiner:
    """Asks a model about the texts of all requests: ``async with Joiner(say, limits, monitoring) as joiner``."""

    def __init__(self, say: Say, limits: ServerLimits, monitoring: Monitoring):
        self._say, self._limits, self._monitoring = say, limits, monitoring
        self._requests: deque[deque[_Waiting]] = deque()
        self._there = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")

    async def __aenter__(self) -> Joiner:
        self._task = asyncio.create_task(self._answer_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._thread.shutdown()

    @property
    def is_running(self) -> bool:
        """Whether texts are answered."""
        return not self._task.done()

    @property
    def waiting(self) -> int:
        """Texts that do not run yet."""
        return sum(map(len, self._requests))

    async def ask(self, texts: Sequence[TextRead]) -> list[Any]:
        """What the model says of each of a request's texts; none of them is run any more once the caller is cancelled.

        :raises RefusedError: If too many wait already.
        :raises CompressError: As the model does about any of the texts.
        """
        if self.waiting + len(texts) > self._limits.waiting:
            raise busy(f"{self.waiting} texts wait already, {self._limits.waiting} may; ask again later")
        now, loop = time.monotonic(), asyncio.get_running_loop()
        own = deque(_Waiting(text, now, loop.create_future()) for text in texts)
        answers = [one.answer for one in own]
        self._requests.append(own)
        self._told()
        try:
            return list(await asyncio.gather(*answers))
        finally:
            own.clear()  # of a request that has failed or whose caller has gone
            self._told()

    def _told(self) -> None:
        self._monitoring.waiting.set(self.waiting)
        self._there.set()

    async def _answer_all(self) -> None:
        while True:
            await self._there.wait()
            self._there.clear()
            while self.waiting:
                await self._wait_for_others()
                if batch := self._next_batch():
                    await self._answer(batch)

    async def _wait_for_others(self) -> None:
        """Let texts come that could join the first one, for as long as it may be kept waiting."""
        until = min(own[0].since for own in self._requests if own) + self._limits.delay_ms / 1000
        while 0 < self.waiting < self._limits.batch and (rest := until - time.monotonic()) > 0:
            self._there.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._there.wait(), rest)

    def _next_batch(self) -> list[_Waiting]:
        """The first text of the request whose turn it is, and those that run best with it."""
        self._requests = deque(own for own in self._requests if own)
        there = [one for own in self._requests for one in own][:_LOOKED_AT]
        if not there:
            return []
        places = joined_with_first([one.text.tokens for one in there], self._limits.batch)
        chosen = {id(there[place]): there[place] for place in places}
        for own in self._requests:
            kept = [one for one in own if id(one) not in chosen]
            own.clear()
            own.extend(kept)
        self._requests.rotate(-1)
        return list(chosen.values())

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Run a batch; where that fails each text for itself, so that what is wrong with one fails no other."""
        began = time.monotonic()
        run = asyncio.get_running_loop().run_in_executor(self._thread, self._say, [one.text for one in batch])
        try:
            said = await run
        except Exception as error:  # whatever a runtime may raise
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        self._monitoring.ran(
            [began - one.since for one in batch], sum(one.text.tokens for one in batch), time.monotonic() - began
        )
        for one, answer in zip(batch, said, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)
