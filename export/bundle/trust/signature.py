"""Signatures of bundles, by OpenSSF's model-signing: over every file's hash, in `model.sig`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compress.errors import CompressError, UnavailableError, first_line
from compress.files import read_limited
from compress.runs.files import file_sha256
from compress.serving.format import SIGNATURE, SIGNATURE_SUM

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""Those of model-signing, by their names in cryptography."""
_LARGEST_KEY = 1_000_000  # bytes; chains of certificates have some thousands


def sign(folder: Path, key: Path, certificates: Sequence[Path] = ()) -> None:
    """Sign a bundle.

    :param key: Private key on an elliptic curve, PEM.
    :param certificates: The signer's certificate and then those of its issuers; none: the bare key signs.
    :raises UnavailableError: If model-signing is not installed.
    :raises CompressError: If a file is not what it must be.
    """
    signer = _signer(key, certificates)
    try:
        signer.sign(folder, folder / SIGNATURE)
    except _unreadable() as error:
        raise _cannot_sign(key, error) from error
    # No key is needed to see that the signature itself was damaged.
    (folder / SIGNATURE_SUM).write_text(f"{file_sha256(folder / SIGNATURE)}  {SIGNATURE}\n", "utf-8")


def check_signer(key: Path, certificates: Sequence[Path]) -> None:
    """Refuse, before anything is made, what `sign` would refuse.

    :raises CompressError: As `sign`.
    """
    _signer(key, certificates)


def _signer(key: Path, certificates: Sequence[Path]) -> Any:
    signing = _library().signing
    if len(certificates) == 1:
        raise CompressError(
            "--certificate: name the signer's certificate and then its issuer's, each with --certificate"
        )
    _check_files((key, *certificates))
    try:
        _check_kind(key, _keys().load_pem_private_key(key.read_bytes(), None).public_key())
        config = signing.Config().set_hashing_config(_hashing())
        if certificates:
            first, *issuers = certificates
            config.use_certificate_signer(private_key=key, signing_certificate=first, certificate_chain=issuers)
        else:
            config.use_elliptic_key_signer(private_key=key)
    except _unreadable() as error:
        raise _cannot_sign(key, error) from error
    return config


def _check_files(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise CompressError(f"{path}: no such file; name a PEM file")
        read_limited(path, _LARGEST_KEY)


def _cannot_sign(key: Path, error: Exception) -> CompressError:
    return CompressError(f"{key}: cannot sign with it ({first_line(error)}); name a PEM key on an elliptic curve")


def _check_kind(path: Path, public_key: Any) -> None:
    """Refuse the keys that model-signing cannot use, some of which it does not refuse itself."""
    curve = getattr(public_key, "curve", None)
    if curve is None or curve.name not in _CURVES:
        kind = type(public_key).__name__.removesuffix("PublicKey") if curve is None else curve.name
        raise CompressError(
            f"{path}: a key of kind {kind}; signatures need one on the elliptic curve {' or '.join(_CURVES.values())}: "
            "openssl ecparam -genkey -noout -name prime256v1"
        )


def signature_problem(folder: Path, key: Path | None, certificates: Sequence[Path]) -> str | None:
    """What is wrong with a bundle's signature; nothing where it is the key's, or a certificate's that the given ones
    have issued.

    :raises UnavailableError: If model-signing is not installed.
    :raises CompressError: If a key or certificate cannot be read.
    """
    verifying = _library().verifying
    _check_files((*([key] if key else []), *certificates))
    config = verifying.Config().set_hashing_config(_hashing())
    try:
        if key is not None:
            _check_kind(key, _keys().load_pem_public_key(key.read_bytes()))
            config.use_elliptic_key_verifier(public_key=key)
        else:
            config.use_certificate_verifier(certificate_chain=list(certificates))
    except _unreadable() as error:
        raise CompressError(
            f"{key or certificates[0]}: cannot be read ({first_line(error)}); name a PEM file"
        ) from error
    if _has_certificate(folder / SIGNATURE) == (key is not None):
        return (
            "made with a certificate: name its issuer's with --certificate"
            if key
            else "made with a bare key: name --key"
        )
    try:
        config.verify(folder, folder / SIGNATURE)
    except Exception as error:  # the library lets those of several others through
        return first_line(error)
    return None


def _has_certificate(signature: Path) -> bool:
    """Whether a certificate came with the signature, rather than a hint at a key; see sigstore's bundle format."""
    try:
        return "publicKey" not in json.loads(signature.read_bytes())["verificationMaterial"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False  # the library will say what is wrong with it


def _hashing() -> Any:
    return _library().hashing.Config().set_ignored_paths(paths=[SIGNATURE, SIGNATURE_SUM], ignore_git_paths=False)


def _keys() -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization


def _unreadable() -> tuple[type[Exception], ...]:
    """What reading a key raises that is none, or of a kind that nobody here knows."""
    from cryptography.exceptions import UnsupportedAlgorithm

    return ValueError, TypeError, UnsupportedAlgorithm


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise UnavailableError("model-signing is not installed; install the extra `sign`") from error
    return model_signing
