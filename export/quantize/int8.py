"""Int8 of a graph's products, with ranges found at run time or beforehand.

Layers are named by the nodes that read the weights; those that are excluded stay in 32 bits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from compress.recipe.export import CalibrationMethod
from compress.targets import Target
from export.onnx.graphs import Announce
from export.quantize.embeddings import quantize_embeddings
from export.quantize.folder import convert_folder
from export.quantize.fp16 import in_half_precision
from export.quantize.layers import WITH_WEIGHTS

Feeds = Mapping[str, list[dict[str, np.ndarray]]]
"""For each graph, by file name, what it is fed with."""


def quantize_dynamic_int8(
    source: Path, folder: Path, target: Target, excluded: Collection[str] = (), announce: Announce = nullcontext
) -> None:
    """Int8 with weights per channel and embeddings per token ahead of time, activations at run time.

    :param source: Folder with the graphs to quantise, fused ones for a CPU.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def convert(graph: Path, converted: Path) -> None:
        quantize_dynamic(
            graph,
            converted,
            op_types_to_quantize=WITH_WEIGHTS,
            nodes_to_exclude=list(excluded),
            per_channel=True,
            reduce_range=target.reduce_range,
            weight_type=QuantType.QInt8,
        )
        quantize_embeddings(converted, excluded)

    convert_folder(source, folder, convert, announce)


def quantize_static_int8(
    source: Path,
    folder: Path,
    target: Target,
    feeds: Feeds,
    method: CalibrationMethod,
    excluded: Collection[str] = (),
    announce: Announce = nullcontext,
) -> None:
    """Int8 with pairs of QuantizeLinear and DequantizeLinear around weights and activations, whose ranges are fixed.

    For a GPU: signed and symmetric, weights per channel, no bias quantised, all else in half precision, as TensorRT
    takes it. For x86: unsigned activations, embeddings per token.

    :param feeds: Real inputs, on which the ranges are found.
    :param method: How ranges follow from the values that are seen.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod as Method
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": Method.MinMax,
        "entropy": Method.Entropy,
        "percentile": Method.Percentile,
    }

    def convert(graph: Path, converted: Path) -> None:
        quantize_static(
            graph,
            converted,
            _Reader(feeds[graph.name]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=WITH_WEIGHTS,
            nodes_to_exclude=list(excluded),
            per_channel=True,
            reduce_range=target.reduce_range,
            activation_type=QuantType.QInt8 if target.signed_activations else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[method],
            extra_options={
                "ActivationSymmetric": target.signed_activations,
                "WeightSymmetric": True,
                "MatMulConstBOnly": True,
                "OpTypesToExcludeOutputQuantization": WITH_WEIGHTS,
                "QuantizeBias": False,
                "CalibStridedMinMax": 1,  # one input at a time: they differ in length, and memory stays small
            },
        )
        if target.is_gpu:
            onnx.save(in_half_precision(onnx.load(converted)), converted)
        else:
            quantize_embeddings(converted, excluded)

    convert_folder(source, folder, convert, announce)


class _Reader:
    """Gives ONNX Runtime's calibration one input after the other."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]):
        self._feeds = feeds
        self._rest: Iterator[dict[str, np.ndarray]] = iter(feeds)

    def __len__(self) -> int:
        return len(self._feeds)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these inputs."""
        self._rest = iter(self._feeds[start_index:end_index])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)
