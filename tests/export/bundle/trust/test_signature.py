"""Keys that cannot be read, in one line."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from compress.errors import CompressError
from export.bundle.trust.signature import signature_problem


def test_a_key_of_a_kind_that_nobody_knows_is_refused(tmp_path: Path):
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    content = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    kind = bytes.fromhex("2a8648ce3d0201")  # elliptic curves: 1.2.840.10045.2.1
    assert kind in content
    body = base64.b64encode(content.replace(kind, bytes.fromhex("2a864cce3d0201"))).decode()
    key = tmp_path / "public.pem"
    key.write_text(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    with pytest.raises(CompressError, match=r"public.pem: cannot be read \(Unknown key type: .*name a PEM file"):
        signature_problem(tmp_path, key, [])
