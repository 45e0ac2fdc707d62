"""Training few to find the best: all candidates are trained a little, and only some go on.

Where the drop is the objective, by successive halving (Jamieson and Talwalkar, 2016): the best third goes on. Where it
is bounded, by halves of the price: what is dearer learns more, so that one that keeps to the bound leaves the cheaper
ones to be looked at, and one that does not the dearer ones.

Each follows the learning rate of the whole training and goes on from where it stopped: what was trained to the end is
what a training of it alone would have come to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.fit.bounds import FitBounds
from bench.fit.report import FitCandidate, FitCost, FitRung
from compress.console import say
from compress.metrics.languages import ALL

_SHARE = 3
_FEWEST = 2  # are trained to the end, so that there is a frontier

Train = Callable[[FitCandidate, float], FitRung]
"""Trains a candidate until so many epochs of the whole training are done, and judges it."""


@dataclass
class Course:
    """What trainings have come to: the rungs of each candidate, and those that were spared most of theirs."""

    bounds: FitBounds
    epochs: Sequence[float]
    rungs: dict[FitCandidate, list[FitRung]] = field(default_factory=dict)
    spared: list[FitCandidate] = field(default_factory=list)

    @property
    def finalists(self) -> list[FitCandidate]:
        """Those that were trained to the end."""
        return [one for one, rungs in self.rungs.items() if rungs[-1].epochs == self.epochs[-1]]

    def drop(self, candidate: FitCandidate) -> float:
        """Points that its worst language loses, as far as it was trained."""
        return 100 * self.rungs[candidate][-1].losses.worst_language_drop.value

    def loss(self, candidate: FitCandidate) -> tuple[float, float]:
        """The same, and what all languages lose together."""
        return self.drop(candidate), self.rungs[candidate][-1].losses.drop[ALL].value

    def keeps(self, candidate: FitCandidate) -> bool:
        """Whether a candidate, as far as it was trained, loses no more than is allowed."""
        return self.bounds.points is None or self.drop(candidate) <= self.bounds.points


def rungs_of(epochs: float, candidates: int) -> list[float]:
    """After how many epochs candidates are compared: whole ones, each three times as many as before, and then all.

    :param epochs: Of the whole training.
    :param candidates: Few need fewer comparisons.
    """
    most = math.ceil(math.log(max(1, candidates / _FEWEST), _SHARE) - 1e-9)
    parts = {round(epochs / _SHARE**power) for power in range(1, most + 1)}
    return [*sorted(float(part) for part in parts if 1 <= part < epochs), float(epochs)]


def run_course(
    candidates: Sequence[FitCandidate],
    costs: Mapping[FitCandidate, FitCost],
    bounds: FitBounds,
    epochs: Sequence[float],
    train: Train,
) -> Course:
    """Train candidates, few of them to the end.

    :param epochs: After how many they are compared; the last are the whole training.
    """
    course = Course(bounds, epochs)
    trainer = _Trainer(course, train, _Pace(list(epochs)))
    if bounds.points is None:
        _by_thirds(trainer, list(candidates))
    else:
        _by_price(trainer, sorted(candidates, key=lambda one: price(costs[one], bounds)))
    static = [one for one in course.rungs if one.is_static]
    if static and not any(one.is_static for one in course.finalists):
        _finished(trainer, min(static, key=course.loss))  # it costs little, and is the far end of the frontier
    return course


def price(cost: FitCost, bounds: FitBounds) -> float:
    """What is to be as little as can be; nothing where that is the drop."""
    return {"latency": cost.p50_ms, "size": cost.bytes, "drop": 0.0}[bounds.objective]


def best_of(course: Course, costs: Mapping[FitCandidate, FitCost]) -> FitCandidate:
    """Of those that were trained to the end the cheapest that keeps to the drop, or else the one that loses least."""
    good = [candidate for candidate in course.finalists if course.keeps(candidate)]
    if not good:
        return min(course.finalists, key=course.loss)
    return min(good, key=lambda one: (price(costs[one], course.bounds), *course.loss(one), costs[one].p50_ms))


def _by_thirds(trainer: _Trainer, alive: list[FitCandidate]) -> None:
    """Successive halving: after each rung those go on that lose least."""
    course, kept = trainer.course, [len(alive)]
    for _ in course.epochs[1:]:
        kept.append(min(kept[-1], max(_FEWEST, math.ceil(kept[-1] / _SHARE))))
    for rung, count in enumerate(kept):
        alive = sorted(alive, key=course.loss)[:count] if rung else alive
        later = sum(number * trainer.pace.step(place) for place, number in enumerate(kept) if place > rung)
        for place, candidate in enumerate(alive):
            trainer.go_on(candidate, rung, (count - place - 1) * trainer.pace.step(rung) + later)


def _by_price(trainer: _Trainer, rising: list[FitCandidate]) -> None:
    """After the first rung those go on that lose less than all cheaper ones, and are divided by what they come to.

    If none of these keeps to the drop, the others have their turn.

    :param rising: The cheapest first.
    """
    course, whole = trainer.course, len(trainer.course.epochs) - 1
    if whole:
        ends = _trainings(len(rising)) * (course.epochs[-1] - course.epochs[0])
        for place, candidate in enumerate(rising):
            trainer.go_on(candidate, 0, (len(rising) - place - 1) * course.epochs[0] + ends)
        steps = [
            one for place, one in enumerate(rising) if all(course.loss(one) < course.loss(c) for c in rising[:place])
        ]
        course.spared = [one for one in rising if one not in steps]
        rising = steps
    # Those before the first do not keep to the drop, the one beyond does.
    first, beyond = 0, len(rising)
    while True:
        while first < beyond:
            middle = (first + beyond) // 2
            ahead = _trainings(beyond - first - 1) * (course.epochs[-1] - (course.epochs[0] if whole else 0))
            if _keeps_by_and_by(trainer, rising[middle], ahead):
                beyond = middle
            else:
                first = middle + 1
        if beyond == len(rising) or _finished(trainer, rising[beyond]):
            break
        first, beyond = beyond + 1, len(rising)
    for candidate in sorted(course.spared, key=course.loss):
        if any(course.keeps(one) for one in course.finalists):
            break
        say("fit: none of those that seemed best keeps to the drop; going on with another")
        _finished(trainer, candidate)


def _trainings(candidates: int) -> int:
    """How many of so many are looked at where each halves the rest."""
    return candidates.bit_length()


def _keeps_by_and_by(trainer: _Trainer, candidate: FitCandidate, ahead: float) -> bool:
    """Train a candidate until it keeps to the drop, or to its end."""
    course = trainer.course
    for rung in range(len(course.rungs.get(candidate, [])), len(course.epochs)):
        if candidate in course.rungs and course.keeps(candidate):
            break
        trainer.go_on(candidate, rung, ahead + course.epochs[-1] - course.epochs[rung])
    return course.keeps(candidate)


def _finished(trainer: _Trainer, candidate: FitCandidate) -> bool:
    """Train a candidate to its end; whether it keeps to the drop."""
    if candidate not in trainer.course.finalists:
        trainer.go_on(candidate, len(trainer.course.epochs) - 1, 0.0)
    return trainer.course.keeps(candidate)


@dataclass
class _Pace:
    """How long trainings take, and so how long the rest will."""

    epochs: list[float]
    seconds: float = 0.0
    trained: float = 0.0

    def step(self, rung: int) -> float:
        """Epochs from the rung before to this one."""
        return self.epochs[rung] - (self.epochs[rung - 1] if rung else 0.0)


@dataclass
class _Trainer:
    """Trains candidates of a course, rung by rung, and tells what they come to."""

    course: Course
    train: Train
    pace: _Pace

    def go_on(self, candidate: FitCandidate, rung: int, ahead: float) -> None:
        """Train a candidate to a rung.

        :param ahead: Epochs that are likely to be trained after it, of all candidates.
        """
        epochs, pace, before = self.course.epochs, self.pace, self.course.rungs.get(candidate, [])
        found = self.train(candidate, epochs[rung])
        self.course.rungs[candidate] = [*before, found]
        if not candidate.is_static:  # an epoch of those takes next to nothing, and says nothing of others
            pace.seconds += found.seconds
            pace.trained += epochs[rung] - (before[-1].epochs if before else 0.0)
        worst = found.losses.worst_language_drop
        left = f"; about {_duration(ahead * pace.seconds / pace.trained)} left" if ahead and pace.trained else ""
        say(
            f"fit: {candidate.name} after {epochs[rung]:g} of {epochs[-1]:g} epochs: worst-language drop "
            f"{100 * worst.value:+.1f} in {worst.language}{left}"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
