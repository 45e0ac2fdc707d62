"""How much of a measurement's time went to other work, and what that leaves unsure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from compress.metrics.metric import Figure

TOO_BUSY = 0.05
"""From this share on times are not those of a quiet machine."""


def too_noisy(disturbed: Mapping[str, float]) -> str | None:
    """The model whose times are least to be trusted, in words; none where all are.

    :param disturbed: By model, the share of its time that went to other work.
    """
    name, share = max(disturbed.items(), key=lambda item: item[1], default=("", 0.0))
    return f"other work had the processor for {100 * share:.0f} % of the time of {name}" if share > TOO_BUSY else None


def share_of_other_work(waited_ms: float, own_ms: float, stolen_ms: float, every_ms: float) -> float:
    """The share of a model's time that went to other work, 0 to 1.

    :param waited_ms: In which the model waited for a processor, of the ``own_ms`` that it took.
    :param stolen_ms: In which other guests of the host had the processors, which is told of all models together: of
        the ``every_ms`` that these took.
    """
    return min(1.0, waited_ms / own_ms + stolen_ms / every_ms)


def widened(ratio: Figure, over: float, under: float) -> Figure:
    """A ratio of times with an interval that holds whoever's time the other work took.

    Long runs lose the processor in their midst more often than short ones do: the ratio itself may be wrong.

    :param over: The share of the time above the line that went to other work.
    :param under: The same of the time below it.
    """
    low, high = ratio.low * (1 - over), ratio.high / (1 - under) if under < 1 else math.inf
    return Figure(ratio.value, low, high)
