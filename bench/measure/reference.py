"""A fixed piece of work that a processor's speed is told by, so that two machines, or two days, can be compared.

NumPy alone, whose speed does not hang on the runtimes that are measured: products of matrices, GELU and softmax, about
as much as small layers of a transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFERENCE = "reference"
"""What it is called among the models."""

_TOKENS, _WIDTH, _FEED_FORWARD, _LAYERS = 64, 256, 1024, 4


def reference_workload() -> Callable[..., NDArray[np.float32]]:
    """A function that does the work; what it is called with does not matter."""
    generator = np.random.default_rng(0)
    tokens = generator.standard_normal((_TOKENS, _WIDTH), dtype=np.float32)
    wide = generator.standard_normal((_WIDTH, _FEED_FORWARD), dtype=np.float32) / np.float32(_WIDTH**0.5)
    narrow = generator.standard_normal((_FEED_FORWARD, _WIDTH), dtype=np.float32) / np.float32(_FEED_FORWARD**0.5)

    def work(*_: object) -> NDArray[np.float32]:
        states: NDArray[Any] = tokens
        for _layer in range(_LAYERS):
            hidden = states @ wide
            hidden = hidden / (1 + np.exp(np.float32(-1.702) * hidden))
            scores = states @ states.T / np.float32(_WIDTH**0.5)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            states = (weights / weights.sum(axis=1, keepdims=True)) @ (hidden @ narrow)
            states = (states - states.mean(axis=1, keepdims=True)) / (states.std(axis=1, keepdims=True) + 1e-6)
        return states

    return work
