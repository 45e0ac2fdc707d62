"""Which candidates are worth a training: latency and size depend on the shape alone, so they are known before.

Few are made: what is at least as large as one that is too slow is too slow as well, and what others are like is
estimated from those that were made. No candidate is trained that was not made and within the bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.fit.bounds import FitBounds
from bench.fit.report import FitCandidate, FitCost, FitWeights
from compress.console import say
from compress.errors import CompressError, RejectedVariantError

_UNSURE = 1.1  # what is estimated to miss a bound by more is not made
_CLEAR = 1.5  # what was disturbed, and yet is so far on either side of a bound, is on that side
_STATIC_SHARE = 3
_MOST_MADE = 3  # times as many as are trained, beside the corners

Measure = Callable[[FitCandidate], FitCost]


@dataclass
class Survey:
    """What candidates cost, and which of them are worth a training; ``rejected`` could not be made, with the reason."""

    weights: Mapping[FitCandidate, FitWeights]
    bounds: FitBounds
    measured: dict[FitCandidate, FitCost] = field(default_factory=dict)
    rejected: dict[FitCandidate, str] = field(default_factory=dict)
    shortlist: list[FitCandidate] = field(default_factory=list)

    def cost(self, candidate: FitCandidate) -> FitCost:
        """As it was measured, or else is estimated."""
        return self.measured.get(candidate) or self.estimates()[candidate]

    def allows(self, candidate: FitCandidate) -> bool:
        """Whether a candidate that was measured is within the bounds."""
        cost = self.measured[candidate]
        return self.bounds.allow(cost.p50_ms, cost.bytes)

    def estimates(self) -> dict[FitCandidate, FitCost]:
        """What all candidates are like, by those that were measured.

        A run takes some time for itself, some for each layer, and more with the sizes of its products; a form has some
        bytes for each weight of the embeddings, and for each other one. No part is less than nothing. Static ones have
        nothing in common with the others but what their embeddings need.
        """
        candidates = list(self.weights)
        features = np.array([_of_time(candidate) for candidate in candidates])
        numbers = np.array([_of_size(candidate, self.weights[candidate]) for candidate in candidates])
        places = [candidates.index(candidate) for candidate in self.measured]
        costs = list(self.measured.values())
        milliseconds = features @ _fitted(features[places], [cost.p50_ms for cost in costs])
        sizes = numbers @ _fitted(numbers[places], [cost.bytes for cost in costs])
        return {
            candidate: FitCost(p50_ms=float(ms), bytes=round(size), estimated=True)
            for candidate, ms, size in zip(candidates, milliseconds, sizes, strict=True)
        }


def survey(weights: Mapping[FitCandidate, FitWeights], bounds: FitBounds, most: int, measure: Measure) -> Survey:
    """Measure candidates until those that are worth a training are known.

    :param most: So many are trained at most.
    :param measure: Makes an untrained candidate and measures it.
    :raises CompressError: If none can be made, or other work kept one from being timed whose place hangs on it.
    """
    found = Survey(weights, bounds)
    kinds = _by_kind(list(weights))
    for kind in kinds:
        for candidate in _corners(kind):
            _try(found, candidate, measure)
            if _is_beyond(found, candidate) and all(other.covers(candidate) for other in kind):
                break  # all others of this kind are slower, and larger
    if not found.measured:
        raise CompressError(f"fit: no student can be made: {next(iter(found.rejected.values()))}")
    while True:
        chosen = _worth_it(found, most)
        unknown = [candidate for candidate in chosen if candidate not in found.measured]
        if not unknown or len(found.measured) > _MOST_MADE * most + sum(len(_corners(kind)) for kind in kinds):
            break
        _try(found, unknown[0], measure)
    found.shortlist = [candidate for candidate in chosen if candidate in found.measured]
    _check_quiet(found)
    return found


def _try(found: Survey, candidate: FitCandidate, measure: Measure) -> None:
    try:
        found.measured[candidate] = measure(candidate)
    except RejectedVariantError as error:
        say(f"fit: {candidate.name} is left out: {error}")
        found.rejected[candidate] = str(error)


def _is_beyond(found: Survey, candidate: FitCandidate) -> bool:
    return candidate in found.measured and not found.allows(candidate)


def _corners(candidates: Sequence[FitCandidate]) -> list[FitCandidate]:
    """The smallest, the shallowest of the widest, the deepest of the narrowest, one in the middle, the largest.

    Of static ones the smallest and the largest.
    """
    if not candidates:
        return []
    smallest = min(candidates, key=lambda one: (one.layers, *_wide(one)))
    shallow = min(candidates, key=lambda one: (one.layers, *(-size for size in _wide(one))))
    deep = max(candidates, key=lambda one: (one.layers, *(-size for size in _wide(one))))
    largest = max(candidates, key=lambda one: (one.layers, *_wide(one)))
    middle = sorted(candidates, key=lambda one: one.layers * one.hidden_size)[len(candidates) // 2]
    if smallest.is_static:
        return [*dict.fromkeys((smallest, largest))]
    return [*dict.fromkeys((smallest, shallow, deep, middle, largest))]


def _by_kind(candidates: Sequence[FitCandidate]) -> tuple[list[FitCandidate], list[FitCandidate]]:
    """The static ones, and those with layers."""
    return [one for one in candidates if one.is_static], [one for one in candidates if not one.is_static]


def _wide(one: FitCandidate) -> tuple[float, ...]:
    return one.hidden_size, one.feed_forward_size, one.most_tokens


def _of_time(candidate: FitCandidate) -> tuple[float, ...]:
    layers, width, wide = candidate.layers, candidate.hidden_size, candidate.feed_forward_size
    of_layers = float(layers), layers * width / 1e2, layers * width * width / 1e5, layers * width * wide / 1e5
    return float(candidate.is_static), float(not candidate.is_static), *of_layers


def _of_size(candidate: FitCandidate, weights: FitWeights) -> tuple[float, ...]:
    return float(candidate.is_static), float(not candidate.is_static), weights.embeddings, weights.others


def _fitted(features: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """What each feature adds, none less than nothing; errors count by their share."""
    from scipy.optimize import nnls

    solution, _ = nnls(features / np.array(values)[:, None], np.ones(len(values)))
    return np.asarray(solution)


def _worth_it(found: Survey, most: int) -> list[FitCandidate]:
    """The candidates within the bounds that promise most, as far as is known by now.

    A third are static, if there are such, and one where few are trained: they cost little, and are the far end of what
    can be had.
    """
    estimates = found.estimates()
    within = [candidate for candidate in found.weights if _may_be_within(found, candidate, estimates[candidate])]
    static, layered = (_promising(found, kind, estimates) for kind in _by_kind(within))
    few = max(most // _STATIC_SHARE, int(most > 1), most - len(layered))
    static = _drawn(found, static, few)
    return [*static, *_drawn(found, layered, most - len(static))]


def _promising(
    found: Survey, within: Sequence[FitCandidate], estimates: Mapping[FitCandidate, FitCost]
) -> list[FitCandidate]:
    """Where the drop is the objective: those that no other one covers, the largest first.

    Else, from the cheapest to the costliest, those that no cheaper one is as deep as and has as many tokens and other
    weights as; of static ones: is as long as.
    """
    if found.bounds.objective == "drop":
        outermost = [one for one in within if not any(other != one and other.covers(one) for other in within)]
        return sorted(outermost, key=lambda one: (-found.weights[one].others, -found.weights[one].embeddings))

    def price(candidate: FitCandidate) -> float:
        cost = found.measured.get(candidate) or estimates[candidate]
        return cost.bytes if found.bounds.objective == "size" else cost.p50_ms

    def room(candidate: FitCandidate) -> tuple[float, ...]:
        others = candidate.hidden_size if candidate.is_static else found.weights[candidate].others
        return candidate.layers, candidate.most_tokens, others

    rising: list[FitCandidate] = []
    for candidate in sorted(within, key=price):
        if not any(all(a >= b for a, b in zip(room(one), room(candidate), strict=True)) for one in rising):
            rising.append(candidate)
    return rising


def _drawn(found: Survey, promising: list[FitCandidate], count: int) -> list[FitCandidate]:
    """So many of them: the first, or where they rise in price those that lie evenly apart."""
    if found.bounds.objective == "drop":
        return promising[:count]
    places = np.linspace(0, len(promising) - 1, min(count, len(promising))).round().astype(int)
    return [promising[place] for place in places]


def _may_be_within(found: Survey, candidate: FitCandidate, estimate: FitCost) -> bool:
    if candidate in found.rejected:
        return False
    if candidate in found.measured:
        return found.allows(candidate)
    beyond = (other for other in found.measured if not found.allows(other))
    return not any(candidate.covers(other) for other in beyond) and found.bounds.allow(
        estimate.p50_ms, estimate.bytes, _UNSURE
    )


def _check_quiet(found: Survey) -> None:
    """Refuse to go on where a bound on latency hangs on a time that was disturbed."""
    bound = found.bounds.latency_ms
    if bound is None:
        return
    unsure = [
        candidate.name
        for candidate, cost in found.measured.items()
        if cost.noisy and bound / _CLEAR < cost.p50_ms < bound * _CLEAR
    ]
    if unsure:
        raise CompressError(
            f"fit: too noisy: other work had the processor while {', '.join(unsure)} was timed; stop it and run the "
            "command again (what was measured else is kept)"
        )
