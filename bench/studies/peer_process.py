"""One contender of the comparison with peers, in a process of its own: ``python -P -m bench.studies.peer_process``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.measure.messages import Request, answer_requests, kinds_of
from bench.studies.peer_models import PeerModel, open_peer, random_tokens
from compress.console import quiet_libraries
from compress.threads import bound_threads
from compress.timing import timed, timed_in_peace

_SECONDS_A_VISIT, _FEWEST_RUNS, _MOST_RUNS = 0.6, 2, 60
_LOGIT_ROWS, _LOGIT_LENGTHS = 8, (12, 32, 64)
_PEAK_SIZE, _PEAK_RUNS = 2048, 8


@dataclass(frozen=True)
class PeerReady:
    """The model is loaded."""


@dataclass(frozen=True)
class PeerSetup(Request[PeerReady]):
    """Which contender to load, of the models in a folder; none where only the processor is measured."""

    name: str | None
    folder: str
    threads: int


@dataclass(frozen=True)
class TimesAnswer:
    """Milliseconds of the runs in each cell."""

    milliseconds: Sequence[Sequence[float]]


@dataclass(frozen=True)
class TimeRequest(Request[TimesAnswer]):
    """Time runs in each of some cells, pairs of batch and length, for a while."""

    sizes: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class LogitsAnswer:
    """The logits of random tokens, (rows, labels)."""

    logits: Sequence[Sequence[float]]


@dataclass(frozen=True)
class LogitsRequest(Request[LogitsAnswer]):
    """Tell the logits of some random tokens, the same for all contenders."""


@dataclass(frozen=True)
class PeakAnswer:
    """GFLOP/s of a large product of matrices in 32 bits, the best of NumPy's and PyTorch's."""

    gflops: float


@dataclass(frozen=True)
class PeakRequest(Request[PeakAnswer]):
    """Measure what the processor can do."""


KINDS = kinds_of(
    PeerSetup, PeerReady, TimeRequest, TimesAnswer, LogitsRequest, LogitsAnswer, PeakRequest, PeakAnswer
)  # fmt: skip
"""All kinds of these messages."""


class Peer:
    """One contender, and what is asked of it."""

    def __init__(self, model: PeerModel, threads: int):
        self._model, self._threads = model, threads
        self._warm: set[tuple[int, int]] = set()

    def answer(self, request: object) -> object:
        """Do what is asked."""
        match request:
            case TimeRequest(sizes):
                return TimesAnswer([self._times(batch, length) for batch, length in sizes])
            case LogitsRequest():
                parts = [self._model(random_tokens(_LOGIT_ROWS, length)) for length in _LOGIT_LENGTHS]
                return LogitsAnswer(np.concatenate(parts).tolist())
            case PeakRequest():
                return PeakAnswer(_peak_gflops(self._threads))
        raise TypeError(f"{type(request).__name__} is nothing that can be asked")

    def _times(self, batch: int, length: int) -> list[float]:
        feed = random_tokens(batch, length)
        for _ in range(1 if (batch, length) in self._warm else 3):
            self._model(feed)
        self._warm.add((batch, length))
        times: list[float] = []
        ends = time.monotonic() + _SECONDS_A_VISIT
        while len(times) < _FEWEST_RUNS or (time.monotonic() < ends and len(times) < _MOST_RUNS):
            times.append(timed_in_peace(lambda: self._model(feed)).milliseconds)
        return times


def main() -> None:
    """Load the contender once, then answer until the input ends."""
    bound_threads()
    quiet_libraries()

    def begin(setup: PeerSetup) -> tuple[PeerReady, Callable[[object], object]]:
        model: PeerModel = lambda feed: feed["input_ids"]  # noqa: E731
        if setup.name is not None:
            model = open_peer(setup.name, Path(setup.folder), setup.threads)
        return PeerReady(), Peer(model, setup.threads).answer

    answer_requests(KINDS, begin)


def _peak_gflops(threads: int) -> float:
    import torch

    torch.set_num_threads(threads)
    one = np.random.default_rng(0).standard_normal((_PEAK_SIZE, _PEAK_SIZE), dtype=np.float32)
    tensor = torch.from_numpy(one)
    products: list[Callable[[], object]] = [lambda: one @ one, lambda: tensor @ tensor]
    milliseconds = min(timed(multiply).milliseconds for multiply in products for _ in range(_PEAK_RUNS))
    return 2 * _PEAK_SIZE**3 / milliseconds / 1e6


if __name__ == "__main__":
    main()
