"""KServe's protocol of inference, version 2, with Triton's extension for tensors in binary: requests and responses.

References: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from compress.contract import Contract
from compress.server.limits import RefusedError, ServerLimits
from compress.server.reading import checked_texts, parsed
from compress.serving.format import Description
from compress.serving.tensors import OPTIONAL_INPUTS, NamedTensor, inputs_of, outputs_of

HEADER_LENGTH = "Inference-Header-Content-Length"
"""Where tensors follow in binary: bytes of the JSON before them."""


class InferInput(Contract):
    """A tensor that is asked with: ``data`` in JSON, flat or by its shape, or in binary behind it."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


class WantedOutput(Contract):
    """A tensor that is asked for."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferRequest(Contract):
    """The JSON of a request."""

    inputs: list[InferInput]
    outputs: list[WantedOutput] | None = None
    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What a request asks: texts by input, and which outputs it wants, each in binary or not."""

    texts: Mapping[str, Sequence[str]]
    outputs: Mapping[str, bool]
    id: str | None


def read_request(body: bytes, header: str | None, described: Description, limits: ServerLimits) -> Question:
    """The question of a request.

    :param header: The value of `HEADER_LENGTH`.
    :raises RefusedError: If it is none that the model is asked with; naming the field.
    """
    length = _header_length(header, body)
    request = parsed(body[:length], InferRequest)
    behind = memoryview(body)[length:]
    known = {tensor.name for tensor in inputs_of(described)}
    texts: dict[str, list[str]] = {}
    for given in request.inputs:
        if given.name in texts or given.name not in known:
            why = "comes twice" if given.name in texts else "is no input of the model"
            raise _refused("inputs", f"{given.name!r:.100} {why}; {described.name} reads {', '.join(sorted(known))}")
        data, behind = _data_of(given, behind)
        texts[given.name] = _texts_of(given, data, limits)
    if behind:
        raise _refused("inputs", f"{len(behind):,} bytes follow that belong to no input")
    for name in sorted(known - set(texts) - set(OPTIONAL_INPUTS)):
        raise _refused("inputs", f"{name} is missing; {described.name} reads {', '.join(sorted(known))}")
    counts = {name: len(each) for name, each in texts.items()}
    if len({*counts.values()}) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise _refused("inputs", f"there are {told}; there must be as many of each")
    return Question(texts, _wanted(request, described), request.id)


def response(question: Question, model: str, arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, int | None]:
    """A response's body and, where tensors follow in binary, the bytes of its JSON.

    :param arrays: By name: float32, or objects that are bytes.
    """
    outputs, behind = [], []
    for name, in_binary in question.outputs.items():
        array = arrays[name]
        told = {"name": name, "datatype": "BYTES" if array.dtype == object else "FP32", "shape": list(array.shape)}
        if in_binary:
            behind.append(_in_binary(array))
            outputs.append({**told, "parameters": {"binary_data_size": len(behind[-1])}})
        else:
            flat = array.ravel().tolist()
            outputs.append({**told, "data": [one.decode() for one in flat] if array.dtype == object else flat})
    content = {"model_name": model, **({"id": question.id} if question.id else {}), "outputs": outputs}
    head = json.dumps(content, ensure_ascii=False).encode()
    return b"".join([head, *behind]), len(head) if behind else None


def metadata(described: Description) -> dict[str, Any]:
    """What a model is asked with and answers with."""

    def told(tensors: Sequence[NamedTensor]) -> list[dict[str, Any]]:
        return [{"name": one.name, "datatype": one.datatype, "shape": [-1, *one.shape]} for one in tensors]

    return {
        "name": described.name,
        "platform": described.runtime,
        "inputs": told(inputs_of(described)),
        "outputs": told(outputs_of(described)),
    }


def _refused(parameter: str, message: str) -> RefusedError:
    return RefusedError(f"{parameter}: {message}", parameter=parameter)


def _header_length(header: str | None, body: bytes) -> int:
    if header is None:
        return len(body)
    length = int(header) if header.isascii() and header.isdigit() and len(header) < 20 else -1
    if not 0 <= length <= len(body):
        raise RefusedError(f"{HEADER_LENGTH} {header!r:.100}: the request has {len(body):,} bytes")
    return length


def _data_of(given: InferInput, behind: memoryview) -> tuple[list[Any], memoryview]:
    """The elements of a tensor, and what follows in binary."""
    if given.datatype != "BYTES":
        raise _refused(f"inputs.{given.name}.datatype", f"{given.datatype!r:.100}; wanted is BYTES")
    size = given.parameters.get("binary_data_size")
    if size is None:
        if given.data is None:
            raise _refused(f"inputs.{given.name}.data", "is missing")
        return list(_flat(given.data)), behind
    if given.data is not None:
        raise _refused(f"inputs.{given.name}", "has data both in JSON and in binary")
    if type(size) is not int or not 0 <= size <= len(behind):
        where = f"inputs.{given.name}.parameters.binary_data_size"
        raise _refused(where, f"{size!r:.100}; {len(behind):,} bytes follow")
    return list(_strings(given.name, behind[:size])), behind[size:]


def _flat(data: Sequence[Any]) -> Iterator[Any]:
    """A row of a column is a list of one."""
    return (one[0] if isinstance(one, list) and len(one) == 1 else one for one in data)


def _strings(name: str, content: memoryview) -> Iterator[str]:
    """Texts in binary: each its number of bytes, little-endian in 32 bits, and UTF-8."""
    place = 0
    while place < len(content):
        try:
            (size,) = struct.unpack_from("<I", content, place)
            end = place + 4 + size
            if end > len(content):
                raise ValueError("a text is cut off")
            yield bytes(content[place + 4 : end]).decode("utf-8")
        except (struct.error, ValueError) as error:
            raise _refused(f"inputs.{name}", f"its bytes are no texts ({error})") from error
        place = end


def _texts_of(given: InferInput, data: Sequence[Any], limits: ServerLimits) -> list[str]:
    where, shape = f"inputs.{given.name}", given.shape
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]) or math.prod(shape) != len(data):
        raise _refused(
            f"{where}.shape", f"{shape!s:.100} with {len(data):,} elements; wanted is [texts, 1] with an element each"
        )
    return checked_texts(where, data, limits)


def _wanted(request: InferRequest, described: Description) -> dict[str, bool]:
    """The outputs to give, and whether in binary."""
    known, every = (
        [tensor.name for tensor in outputs_of(described)],
        request.parameters.get("binary_data_output", False),
    )
    if not request.outputs:
        return dict.fromkeys(known, _flag("parameters.binary_data_output", every))
    found = {}
    for output in request.outputs:
        if output.name not in known:
            raise _refused("outputs", f"{output.name!r:.100}: {described.name} gives {', '.join(known)}")
        if unknown := sorted(set(output.parameters) - {"binary_data"}):
            raise _refused(f"outputs.{output.name}.parameters", f"{unknown[0]!r:.100}: there is binary_data alone")
        where = f"outputs.{output.name}.parameters.binary_data"
        found[output.name] = _flag(where, output.parameters.get("binary_data", every))
    return found


def _flag(where: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _refused(where, f"must be true or false, got {value!r:.100}")
    return value


def _in_binary(array: NDArray[Any]) -> bytes:
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(one)) + one for one in array.ravel())
    return np.ascontiguousarray(array, dtype="<f4").tobytes()
