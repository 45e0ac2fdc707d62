"""The route for vectors of OpenAI's API, ``/v1/embeddings``: requests and responses.

``input_type`` is what NVIDIA's and others' servers add to it: what the texts are, ``query`` or ``passage`` or another
prompt of the model.

Reference: https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.contract import Contract
from compress.server.limits import RefusedError, ServerLimits
from compress.server.reading import checked_texts, parsed
from compress.serving.client import TextRead
from compress.serving.format import Description
from compress.tasks.registry import task_named


class EmbeddingsRequest(Contract):
    """The JSON of a request; ``user`` is read by nobody."""

    model: str
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: str | None = None
    user: str | None = None


@dataclass(frozen=True)
class VectorsQuestion:
    """What a request asks: texts and what they are, in how many numbers and in which form it wants the vectors."""

    texts: Sequence[str]
    kind: str | None
    dimensions: int | None
    in_base64: bool


def read_embeddings_request(body: bytes, described: Description, limits: ServerLimits) -> VectorsQuestion:
    """The question of a request.

    :raises RefusedError: If it is none that the model is asked with; naming the field.
    """
    if not task_named(described.task).VECTORS:
        raise RefusedError(
            f"{described.name} is for {described.task} and gives no vectors; ask /v2/models/{described.name}/infer", 404
        )
    request = parsed(body, EmbeddingsRequest)
    if request.model != described.name:
        raise RefusedError(f"model {request.model!r:.100}: there is {described.name} alone", 404, "model")
    given = [request.input] if isinstance(request.input, str) else request.input
    texts = checked_texts("input", given, limits)
    return VectorsQuestion(texts, request.input_type, request.dimensions, request.encoding_format == "base64")


def embeddings_response(
    question: VectorsQuestion, described: Description, read: Sequence[TextRead], vectors: NDArray[np.float32]
) -> dict[str, Any]:
    """The response's JSON.

    :param vectors: Float32 (texts, numbers).
    :raises RefusedError: If the vectors cannot be had in so many numbers.
    """
    cut = _cut(vectors, question.dimensions, described)
    tokens = sum(one.tokens for one in read)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": _told(vector, question.in_base64)}
            for number, vector in enumerate(cut)
        ],
        "model": described.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _told(vector: NDArray[np.float32], in_base64: bool) -> str | list[float]:
    if in_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def _cut(vectors: NDArray[np.float32], dimensions: int | None, described: Description) -> NDArray[np.float32]:
    """The first numbers of vectors; those that cosines compare are made as long again as they were."""
    width = vectors.shape[1]
    if dimensions in (None, width):
        return vectors
    allowed = sorted({width, *(count for count in described.dimensions if count < width)})
    if dimensions not in allowed:
        told = ", ".join(map(str, allowed))
        raise RefusedError(f"dimensions {dimensions}: {described.name} gives {told}", parameter="dimensions")
    cut = vectors[:, :dimensions]
    if described.similarity != "cosine":
        return cut
    whole, left = (np.linalg.norm(each, axis=1, keepdims=True) for each in (vectors, cut))
    return np.asarray(cut * whole / np.maximum(left, np.finfo(np.float32).tiny), dtype=np.float32)
