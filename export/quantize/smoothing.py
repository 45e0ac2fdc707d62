"""Smoothing: what a few channels of activations have too much of is moved into the weights that they meet.

Each channel of what products read is divided by a factor, and the weights' row for it multiplied with the factor: in
32 bits the answers stay the same, and one scale for all channels rounds none of them to nothing (SmoothQuant: Xiao et
al., 2023). Where nothing but the products reads a norm's output, the division is folded into the norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from export.onnx.layers import weights_of
from export.onnx.weights import array_of, constant
from export.quantize.products import weights_as_multiplied
from export.quantize.ranges import Extremes

_STRENGTH = 0.75  # the share that is moved; of 0.3 to 0.9 what loses least of multilingual-e5-small's vectors
_QUIETEST = 0.01  # of the loudest: what is silent on the calibration rows may still speak later
_LOUD = 6  # times as loud as half of the channels: where none is, a division would cost time and bring nothing


def smoothing_factors(products: Sequence[Any], extremes: Mapping[str, Extremes]) -> dict[str, np.ndarray]:
    """What each channel of what products read is divided by, float32 (channels,), by the values' names.

    Without: what has no loud channel, what is not calculated, and what meets weights that are read elsewhere too, as
    tied ones.

    :param extremes: Of all values that the products read.
    """
    readers: dict[str, list[Any]] = {}
    for product in products:
        readers.setdefault(product.inputs[0].name, []).append(product)
    found = {}
    for name, reading in readers.items():
        if reading[0].inputs[0].producer() is None or any(len(weights_of(one).uses()) > 1 for one in reading):
            continue
        sizes = np.maximum(*map(np.abs, extremes[name]))
        if sizes.max() <= _LOUD * np.median(sizes):
            continue
        weights = np.max([np.abs(weights_as_multiplied(one)).max(axis=1) for one in reading], axis=0)
        if not weights.any():
            continue
        moved, kept = (np.maximum(values, _QUIETEST * values.max()) for values in (sizes, weights))
        found[name] = (moved**_STRENGTH / kept ** (1 - _STRENGTH)).astype(np.float32)
    return found


def divide(graph: Any, products: Sequence[Any], factors: np.ndarray) -> str:
    """Let products read what they read divided by factors; its name now.

    :param products: All that are to be changed of those that read the same values, in the order of the graph.
    """
    import onnx_ir

    values = products[0].inputs[0]
    norm = values.producer()
    alone = not values.is_graph_output() and all(use.node in products for use in values.uses())
    if alone and norm.op_type == "LayerNormalization" and all(old.const_value is not None for old in norm.inputs[1:]):
        for place, old in enumerate(norm.inputs[1:], 1):
            changed = constant(graph, f"{values.name}_smoothed_{place}", array_of(old) / factors)
            norm.replace_input_with(place, changed)
        return str(values.name)
    inverse = constant(graph, f"{values.name}_smoothing", 1 / factors)
    shares = onnx_ir.node("Mul", [values, inverse])
    shares.outputs[0].name = f"{values.name}_smoothed"
    graph.insert_before(products[0], shares)
    for product in products:
        product.replace_input_with(0, shares.outputs[0])
    return f"{values.name}_smoothed"
