"""The search for a student: which candidates can be within the bounds, which learns most, and what to choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.fit.bounds import FitBounds
from bench.fit.halving import Course, best_of, run_course, rungs_of
from bench.fit.report import FitCandidate, FitCost, FitRung, FitTrial, FitWeights
from bench.fit.survey import Survey, survey
from compress.console import say

_BEST = {"latency": "fastest", "size": "smallest", "drop": "one that loses least"}


class Trier(Protocol):
    """What tries candidates: `bench.fit.trials.FitRunner`."""

    def measure(self, candidate: FitCandidate) -> FitCost:
        """What an untrained candidate costs."""

    def train(self, candidate: FitCandidate, until: float) -> FitRung:
        """What it loses once so many epochs are done."""


@dataclass(frozen=True)
class FitSearch:
    """What was measured, what was trained, and what was chosen, or is nearest; none where nothing was trained."""

    bounds: FitBounds
    survey: Survey
    course: Course
    epochs: list[float]
    chosen: FitCandidate | None


def look_for_student(
    weights: Mapping[FitCandidate, FitWeights], bounds: FitBounds, most: int, epochs: float, trier: Trier
) -> FitSearch:
    """Measure candidates, train those that can be within the bounds as `run_course` does, and choose.

    :param most: So many are trained at most.
    :param epochs: Of a whole training.
    """
    say(f"fit: {len(weights)} shapes; within {bounds.told}, the {_BEST[bounds.objective]}")
    found = survey(weights, bounds, most, trier.measure)
    rungs = rungs_of(epochs, len(found.shortlist))
    if not found.shortlist:
        return FitSearch(bounds, found, Course(bounds, rungs), rungs, None)
    names = ", ".join(candidate.name for candidate in found.shortlist)
    say(f"fit: {len(found.shortlist)} are within what is bounded of latency and size, and are trained: {names}")
    course = run_course(found.shortlist, found.measured, bounds, rungs, trier.train)
    return FitSearch(bounds, found, course, rungs, best_of(course, found.measured))


def trials_of(found: FitSearch) -> list[FitTrial]:
    """All candidates and what became of them, the fastest first."""
    estimates = found.survey.estimates()
    frontier = _frontier(found)
    trials = [
        FitTrial(
            name=candidate.name,
            candidate=candidate,
            weights=weights,
            cost=found.survey.measured.get(candidate) or estimates[candidate],
            rungs=found.course.rungs.get(candidate, []),
            outcome=_outcome(found, candidate),
            frontier=candidate in frontier,
            chosen=candidate == found.chosen,
        )
        for candidate, weights in found.survey.weights.items()
    ]
    return sorted(trials, key=lambda trial: trial.cost.p50_ms)


def _frontier(found: FitSearch) -> list[FitCandidate]:
    """Those that were trained to the end and are beaten by no other such in latency, size and drop together."""
    costs = {
        one: (found.survey.measured[one].p50_ms, found.survey.measured[one].bytes, found.course.drop(one))
        for one in found.course.finalists
    }
    return [
        one
        for one, own in costs.items()
        if not any(all(a <= b for a, b in zip(other, own, strict=True)) and other != own for other in costs.values())
    ]


def _outcome(found: FitSearch, candidate: FitCandidate) -> str:
    """What became of a candidate, for people."""
    course, costs, bounds = found.course, found.survey, found.bounds
    if candidate == found.chosen:
        return "chosen" if course.keeps(candidate) else "nearest"
    if candidate in course.finalists:
        return "trained" if course.keeps(candidate) else "loses too much"
    if rungs := course.rungs.get(candidate):
        return f"stopped after {rungs[-1].epochs:g} epoch{'' if rungs[-1].epochs == 1 else 's'}"
    if candidate in costs.rejected:
        return costs.rejected[candidate]
    cost = costs.cost(candidate)
    slow = bounds.latency_ms is not None and cost.p50_ms > bounds.latency_ms
    large = bounds.size_bytes is not None and cost.bytes > bounds.size_bytes
    beyond = " and ".join(name for name, is_so in (("too slow", slow), ("too large", large)) if is_so)
    return beyond or "not trained: others promise more"


def why_chosen(found: FitSearch) -> str:
    """Why a student was chosen, or which one is nearest to what was asked for, in one sentence."""
    costs, course, bounds, chosen = found.survey, found.course, found.bounds, found.chosen
    if chosen is None:
        smallest = min(costs.measured, key=lambda one: costs.measured[one].bytes)
        cost = costs.measured[smallest]
        return (
            f"no student of this teacher is within {bounds.told}; nearest is the smallest one, {smallest.name}: "
            f"{cost.p50_ms:.2f} ms, {cost.bytes / 1e6:.2f} MB"
        )
    cost, worst = costs.measured[chosen], course.rungs[chosen][-1].losses.worst_language_drop
    told = (
        f"{chosen.name}: {cost.p50_ms:.2f} ms, {cost.bytes / 1e6:.2f} MB, worst-language drop {100 * worst.value:+.1f} "
        f"in {worst.language} on validation rows"
    )
    if not course.keeps(chosen):
        return f"none of {len(course.finalists)} trained students is within {bounds.told}; nearest is {told}"
    good = sum(course.keeps(one) for one in course.finalists)
    return f"{told}; the {_BEST[bounds.objective]} of {good} trained to the end and within {bounds.told}"
