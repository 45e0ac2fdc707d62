"""Variants of a graph with smaller numbers: int8 with ranges found at run time or beforehand, int4, half precision.

Layers are named by the nodes that read the weights; those that are excluded stay in 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from compress.console import swallowed_output
from compress.targets import Target
from export.onnx.plain import save_companions

_WITH_WEIGHTS = ["MatMul", "Gemm"]
_INT4_BLOCK = 32
_INT8_ACCURACY_LEVEL = 4  # MatMulNBits multiplies in int8
Feeds = Mapping[str, list[dict[str, np.ndarray]]]
"""For each graph, by file name, what it is fed with."""


def quantize_dynamic_int8(source: Path, folder: Path, target: Target, excluded: Collection[str] = ()) -> None:
    """Int8 with weights per channel and embeddings per token ahead of time, activations at run time.

    :param source: Folder with the graphs to quantise, fused ones for a CPU.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def convert(graph: Path, converted: Path) -> None:
        quantize_dynamic(
            graph,
            converted,
            op_types_to_quantize=_WITH_WEIGHTS,
            nodes_to_exclude=list(excluded),
            per_channel=True,
            reduce_range=target.reduce_range,
            weight_type=QuantType.QInt8,
        )
        quantize_embeddings(converted, excluded)

    _convert_folder(source, folder, convert)


def quantize_static_int8(
    source: Path, folder: Path, target: Target, feeds: Feeds, method: str, excluded: Collection[str] = ()
) -> None:
    """Int8 with pairs of QuantizeLinear and DequantizeLinear around weights and activations, whose ranges are fixed.

    For a GPU: signed and symmetric, weights per channel, no bias quantised, all else in half precision, as TensorRT
    takes it. For x86: unsigned activations, embeddings per token.

    :param feeds: Real inputs, on which the ranges are found.
    :param method: ``minmax``, ``entropy`` or ``percentile``.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }

    def convert(graph: Path, converted: Path) -> None:
        quantize_static(
            graph,
            converted,
            _Reader(feeds[graph.name]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_WITH_WEIGHTS,
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
                "OpTypesToExcludeOutputQuantization": _WITH_WEIGHTS,
                "QuantizeBias": False,
                "CalibStridedMinMax": 1,  # one input at a time: they differ in length, and memory stays small
            },
        )
        if target.is_gpu:
            onnx.save(in_half_precision(onnx.load(converted)), converted)
        else:
            quantize_embeddings(converted, excluded)

    _convert_folder(source, folder, convert)


def quantize_int4(source: Path, folder: Path) -> None:
    """Weights in blocks of 4 bits (MatMulNBits), embeddings in 8 bits per token: for memory, not for speed."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    def convert(graph: Path, converted: Path) -> None:
        quantizer = MatMulNBitsQuantizer(
            onnx.load(graph), bits=4, block_size=_INT4_BLOCK, accuracy_level=_INT8_ACCURACY_LEVEL
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(converted))
        quantize_embeddings(converted)

    _convert_folder(source, folder, convert)


def convert_fp16(source: Path, folder: Path) -> None:
    """Half precision inside, the inputs and outputs as they were."""
    import onnx

    with swallowed_output():
        for graph in source.glob("*.onnx"):
            onnx.save(in_half_precision(onnx.load(graph)), folder / graph.name)
    save_companions(source, folder)


def in_half_precision(model: Any) -> Any:
    """An ``onnx.ModelProto`` in half precision inside, its inputs and outputs as they were."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


def quantize_embeddings(path: Path, excluded: Collection[str] = ()) -> None:
    """Keep tables of embeddings as signed int8 with one scale a token, in place: rare tokens keep their precision."""
    import onnx_ir

    model = onnx_ir.load(path)
    for node in [node for node in _embedding_nodes(model) if node.name not in excluded]:
        table = node.inputs[0].const_value.numpy()
        scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        rows = _lookup(model.graph, node, f"{node.inputs[0].name}_int8", np.rint(table / scales).astype(np.int8))
        scale = _lookup(model.graph, node, f"{node.inputs[0].name}_scale", scales.astype(np.float32))
        whole = onnx_ir.node("Cast", [rows], {"to": onnx_ir.DataType.FLOAT.value})
        product = onnx_ir.node("Mul", [whole.outputs[0], scale])
        model.graph.insert_before(node, [whole, product])
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], product.outputs[0], replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    from export.onnx.graphs import save_graph

    RemoveUnusedNodesPass()(model)
    save_graph(model, path)


def quantisable_layers(folder: Path) -> dict[str, str]:
    """The nodes of a folder's graphs that int8 can take, and for each the name of its weights for people."""
    import onnx_ir

    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.onnx")):
        model = onnx_ir.load(path)
        for node in _embedding_nodes(model):
            found[node.name] = node.inputs[0].name
        for node in model.graph:
            if node.op_type in _WITH_WEIGHTS and getattr(node.inputs[1], "const_value", None) is not None:
                found[str(node.name)] = _title(node)
    return found


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


def _convert_folder(source: Path, folder: Path, convert: Callable[[Path, Path], None]) -> None:
    from onnxruntime.quantization import quant_pre_process

    with swallowed_output(), TemporaryDirectory(dir=folder) as scratch:
        for graph in sorted(source.glob("*.onnx")):
            # Weights that two nodes share, one of them transposed, become two: else one is unpacked in every run.
            folded = Path(scratch) / graph.name
            quant_pre_process(graph, folded, skip_symbolic_shape=True, skip_onnx_shape=True)
            convert(folded, folder / graph.name)
    save_companions(source, folder)


def _embedding_nodes(model: Any) -> list[Any]:
    import onnx_ir

    def is_table(tensor: Any) -> bool:
        constant = tensor.const_value
        return constant is not None and constant.dtype == onnx_ir.DataType.FLOAT and len(constant.shape) == 2

    def by_row(node: Any) -> bool:
        return "axis" not in node.attributes or node.attributes["axis"].as_int() == 0

    return [node for node in model.graph if node.op_type == "Gather" and is_table(node.inputs[0]) and by_row(node)]


def _lookup(graph: Any, node: Any, name: str, table: np.ndarray) -> Any:
    import onnx_ir

    if name in graph.initializers:
        weights = graph.initializers[name]
    else:
        weights = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(table, name=name))
        graph.register_initializer(weights)
    gather = onnx_ir.node("Gather", [weights, node.inputs[1]])
    graph.insert_before(node, gather)
    return gather.outputs[0]


def _title(node: Any) -> str:
    """The bias that is added next tells which layer it is: the exporter gives weights other names."""
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    for use in node.outputs[0].uses():
        if use.node.op_type == "Add":
            bias = next((tensor for tensor in use.node.inputs if tensor.const_value is not None), bias)
    named = bias if bias is not None and "." in (bias.name or "") else node.inputs[1]
    return (named.name if "." in (named.name or "") else node.name).removesuffix(".bias").removesuffix(".weight")
