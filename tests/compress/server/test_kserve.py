"""Requests of KServe's protocol that are broken in any way: one that is read is right, all others are refused."""

from __future__ import annotations

import json
import random
import struct

import pytest

from compress.server.kserve import read_request
from compress.server.limits import RefusedError, ServerLimits
from compress.serving.format import Description

DESCRIPTION = Description(
    name="m", task="text-classification", labels=["a"], runtime="ONNX Runtime", target="any", pairs=True, max_length=8
)
TEXTS = [b"12:30", "März".encode()]
PACKED = b"".join(struct.pack("<I", len(text)) + text for text in TEXTS)
INPUT = {"name": "TEXT", "shape": [2, 1], "datatype": "BYTES"}
HEAD = json.dumps(
    {
        "inputs": [
            {**INPUT, "parameters": {"binary_data_size": len(PACKED)}},
            {**INPUT, "name": "TEXT_PAIR", "data": [["one"], ["other"]]},
        ],
        "outputs": [{"name": "PREDICTION", "parameters": {"binary_data": True}}],
    }
).encode()


def test_tensors_may_come_in_binary_and_in_json():
    found = read_request(HEAD + PACKED, str(len(HEAD)), DESCRIPTION, ServerLimits())
    assert found.texts == {"TEXT": ["12:30", "März"], "TEXT_PAIR": ["one", "other"]}
    assert found.outputs == {"PREDICTION": True}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_changed_in_a_request_it_is_read_rightly_or_refused(seed: int):
    draw = random.Random(seed)
    refused = 0
    for _ in range(500):
        body, header = bytearray(HEAD + PACKED), str(len(HEAD))
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(body))
            body[place : place + draw.randint(0, 2)] = draw.choice(
                [b"", b"[", b'"', b"\xff", b"\\ud800", b"-1", b"1e999", b"null", b"\0", b"9" * 30]
            )
        if draw.random() < 0.2:
            header = draw.choice(["", "-1", "1e3", "٣", "9" * 40, str(draw.randrange(len(body) + 9))])
        try:
            found = read_request(bytes(body), header, DESCRIPTION, ServerLimits())
        except RefusedError:
            refused += 1
        else:
            assert len(found.texts["TEXT"]) == len(found.texts["TEXT_PAIR"]) > 0
    assert refused > 250


@pytest.mark.parametrize(
    ("header", "packed", "told"),
    [
        ("9999", PACKED, "Inference-Header-Content-Length '9999': the request has"),
        (str(len(HEAD)), PACKED[:-1], "inputs.TEXT.parameters.binary_data_size: 18; 17 bytes follow"),
        (str(len(HEAD)), PACKED + b"a", "inputs: 1 bytes follow that belong to no input"),
        (str(len(HEAD)), b"\xff" + PACKED[1:], "inputs.TEXT: its bytes are no texts (a text is cut off)"),
    ],
)
def test_bytes_that_are_no_texts_are_told(header: str, packed: bytes, told: str):
    with pytest.raises(RefusedError) as refused:
        read_request(HEAD + packed, header, DESCRIPTION, ServerLimits())
    assert told in str(refused.value)
