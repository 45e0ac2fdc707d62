"""What every runtime gives: from padded inputs to the task's outputs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From padded inputs, int64 (examples, tokens), to float32 (examples, classes) or (examples, tokens, classes), or to
the tokens that are written, int64 (examples, tokens)."""
