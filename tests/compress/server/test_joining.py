"""How texts of many requests are joined: by length, in turn, none failing for another, and no more than may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from compress.server.joining import Joiner
from compress.server.limits import RefusedError, ServerLimits
from compress.server.monitoring import Monitoring
from compress.serving.client import TextRead
from compress.serving.format import Description
from compress.tasks.rows import Row

DESCRIPTION = Description(
    name="model", task="text-classification", labels=[], runtime="ONNX Runtime", target="any", pairs=False, max_length=8
)


def text(name: str, tokens: int) -> TextRead:
    return TextRead(Row(text=name, label="", lang=""), [{"input_ids": [0] * tokens}])


class Slow:
    """A model that says of a text its name, once it may, and remembers its batches; of `bad` it says nothing."""

    def __init__(self) -> None:
        self.batches: list[str] = []
        self.may = threading.Event()

    def __call__(self, texts: Sequence[TextRead]) -> list[str]:
        assert self.may.wait(30)
        names = [one.row.text for one in texts]
        self.batches.append(" ".join(names))
        if "bad" in names:
            raise ValueError("bad")
        return names


async def asked_while_it_runs(slow: Slow, joiner: Joiner, *requests: Sequence[TextRead]) -> list[Any]:
    """What each request is answered whose texts come, one after the other, while the model runs `first`."""
    every = [asyncio.create_task(joiner.ask([text("first", 1)]))]
    await asyncio.sleep(0.01)
    for request in requests:
        every.append(asyncio.create_task(joiner.ask(request)))
        await asyncio.sleep(0)
    slow.may.set()
    return list(await asyncio.gather(*every, return_exceptions=True))[1:]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def with_joiner(slow: Slow, *requests: Sequence[TextRead], **limits: Any) -> list[Any]:
    async with Joiner(slow, ServerLimits(**limits), Monitoring(DESCRIPTION)) as joiner:
        return await asked_while_it_runs(slow, joiner, *requests)


def test_texts_of_like_length_run_together_whoever_asks():
    slow = Slow()
    found = run(with_joiner(slow, [text("short", 5), text("long", 400)], [text("longer", 410)], [text("brief", 4)]))
    assert found == [["short", "long"], ["longer"], ["brief"]]
    assert slow.batches == ["first", "short brief", "longer long"] or slow.batches == [
        "first",
        "short brief",
        "long longer",
    ]


def test_a_request_with_many_texts_lets_others_have_their_turn():
    slow = Slow()
    many = [text(f"m{number}", 100) for number in range(6)]
    run(with_joiner(slow, many, [text("one", 5)], batch=2))
    assert slow.batches == ["first", "m0 m1", "one", "m2 m3", "m4 m5"]


def test_what_fails_fails_alone():
    slow = Slow()
    found = run(with_joiner(slow, [text("a", 5)], [text("bad", 5)], [text("b", 5)]))
    assert (found[0], str(found[1]), found[2]) == (["a"], "bad", ["b"])


def test_no_more_may_wait_than_is_allowed():
    slow = Slow()
    found = run(with_joiner(slow, [text("a", 5)] * 3, [text("b", 5)] * 2, [text("c", 5)], texts=4, waiting=4))
    assert (found[0], found[2]) == (["a"] * 3, ["c"])
    refused = found[1]
    assert isinstance(refused, RefusedError)
    assert (refused.status, refused.headers) == (503, {"Retry-After": "1"})
    assert str(refused) == "3 texts wait already, 4 may; ask again later"


def test_texts_of_a_client_that_has_gone_are_not_run():
    slow = Slow()

    async def work() -> None:
        async with Joiner(slow, ServerLimits(), Monitoring(DESCRIPTION)) as joiner:
            gone = asyncio.create_task(joiner.ask([text("first", 1), text("never", 100)]))
            await asyncio.sleep(0.01)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            assert joiner.waiting == 0
            slow.may.set()
            assert await joiner.ask([text("next", 1)]) == ["next"]

    run(work())
    assert slow.batches == ["first", "next"]


def test_a_text_waits_for_others_no_longer_than_it_may():
    slow = Slow()
    slow.may.set()

    async def work() -> None:
        async with Joiner(slow, ServerLimits(delay_ms=200), Monitoring(DESCRIPTION)) as joiner:
            first = asyncio.create_task(joiner.ask([text("a", 5)]))
            await asyncio.sleep(0.01)
            await asyncio.gather(first, joiner.ask([text("b", 5)]))

    run(work())
    assert slow.batches == ["a b"]


def test_a_request_that_could_never_be_answered_is_refused_beforehand():
    with pytest.raises(Exception, match="--max-texts 5: more than --max-waiting 4"):
        ServerLimits(texts=5, waiting=4)
