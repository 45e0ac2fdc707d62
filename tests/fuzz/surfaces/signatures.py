"""Signatures of bundles, and the keys that sign and check them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attempts import Spoil, Surface, Wants, WrongAnswer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from material import Material
from mutations import REPLACEMENTS, altered_bytes, altered_json

from compress.runs.files import file_sha256
from compress.serving.format import SIGNATURE, SIGNATURE_SUM
from export.bundle.trust.signature import sign
from surfaces.bundles import verified

BUNDLE, PRIVATE, PUBLIC = "bundle", "private.pem", "public.pem"


def ask(folder: Path, material: Material) -> None:
    """Sign if there is a private key, then check with the public one; what passes is signed by the signer."""
    bundle = folder / BUNDLE
    if (folder / PRIVATE).exists() or (folder / PRIVATE).is_symlink():
        sign(bundle, folder / PRIVATE)
        if not _same(folder / PRIVATE, material.key("signer-private"), lambda raw: load_pem_private_key(raw, None)):
            raise WrongAnswer("another key has signed")
    verified(bundle, folder / PUBLIC)
    if not _same(folder / PUBLIC, material.key("signer-public"), load_pem_public_key):
        raise WrongAnswer("another key's signature passes")
    if not (folder / PRIVATE).exists() and _signed(bundle) != _signed(material.bundle):
        raise WrongAnswer("another signature passes")


def _same(one: Path, other: Path, load: Callable[[bytes], Any]) -> bool:
    first, second = (load(path.read_bytes()) for path in (one, other))
    numbers = "private_numbers" if hasattr(first, "private_numbers") else "public_numbers"
    return bool(getattr(first, numbers)() == getattr(second, numbers)())


def _signed(bundle: Path) -> Any:
    """What is signed, and the signature: what else is said of them binds nobody."""
    envelope = json.loads((bundle / SIGNATURE).read_text("utf-8"))["dsseEnvelope"]
    return envelope["payload"], envelope["signatures"][0]["sig"]


def summed(bundle: Path) -> None:
    """Write the signature's own sum anew."""
    (bundle / SIGNATURE_SUM).write_text(f"{file_sha256(bundle / SIGNATURE)}  {SIGNATURE}\n", "utf-8")


def draw(random_: random.Random, folder: Path, material: Material) -> str:
    """The signature altered, or a key."""
    copy_of(material, folder)
    way = random_.choice((SIGNATURE, SIGNATURE, PUBLIC, PRIVATE))
    if way == PRIVATE:
        shutil.copy(material.key("signer-private"), folder / PRIVATE)
    path = folder / BUNDLE / SIGNATURE if way == SIGNATURE else folder / way
    if way == SIGNATURE and random_.random() < 0.7:
        words, text = altered_json(random_, json.loads(path.read_text("utf-8")))
        path.write_text(text, "utf-8", "surrogatepass")
    else:
        words, raw = altered_bytes(random_, path.read_bytes())
        path.write_bytes(raw)
    if way == SIGNATURE and random_.random() < 0.8:
        summed(folder / BUNDLE)
    return f"{way}: {words}"


def copy_of(material: Material, folder: Path) -> None:
    """A signed bundle, and the key that checks it."""
    shutil.copytree(material.bundle, folder / BUNDLE)
    shutil.copy(material.key("signer-public"), folder / PUBLIC)


def pem_of(key: Any, password: bytes | None = None) -> bytes:
    kept = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    raw: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept)
    return raw


def _other_private_keys() -> dict[str, bytes]:
    curve = ec.generate_private_key(ec.SECP256R1())
    return {
        "an RSA key": pem_of(rsa.generate_private_key(65537, 2048)),
        "an Ed25519 key": pem_of(ed25519.Ed25519PrivateKey.generate()),
        "a locked key": pem_of(curve, b"password"),
        "a curve that nobody uses": pem_of(ec.generate_private_key(ec.SECP256K1())),
        "a key that is cut off": pem_of(curve)[:100],
        "a text": b"not a key",
        "nothing": b"",
    }


def surface(material: Material) -> Surface:
    def case(alter: Callable[[Path], object]) -> Spoil:
        def spoil(folder: Path) -> None:
            copy_of(material, folder)
            alter(folder)

        return spoil

    def signature(text: str) -> Spoil:
        def alter(folder: Path) -> None:
            (folder / BUNDLE / SIGNATURE).write_text(text, "utf-8", "surrogatepass")
            summed(folder / BUNDLE)

        return case(alter)

    cases: dict[str, tuple[Spoil, Wants]] = {
        "unaltered": (case(lambda folder: None), "accepted"),
        "signed again": (
            case(lambda folder: shutil.copy(material.key("signer-private"), folder / PRIVATE)),
            "accepted",
        ),
        "somebody else's key": (
            case(lambda folder: shutil.copy(material.key("other-public"), folder / PUBLIC)),
            "refused",
        ),
        "the private key for the public one": (
            case(lambda folder: shutil.copy(material.key("signer-private"), folder / PUBLIC)),
            "refused",
        ),
        "the public key for the private one": (
            case(lambda folder: shutil.copy(material.key("signer-public"), folder / PRIVATE)),
            "refused",
        ),
        **{
            f"to sign with: {name}": (case(lambda folder, raw=raw: (folder / PRIVATE).write_bytes(raw)), "refused")
            for name, raw in _other_private_keys().items()
        },
        **{
            f"a signature of {text!r:.30}": (signature(text), "refused")
            for text in ("", "{}", "[]", "null", "[" * 10**5)
        },
    }
    for name in (PUBLIC, f"{BUNDLE}/{SIGNATURE}", f"{BUNDLE}/{SIGNATURE_SUM}"):
        cases |= {
            f"in place of {name}: {words}": (case(lambda folder, name=name, put=put: put(folder / name)), "refused")
            for words, put in REPLACEMENTS.items()
        }
    return Surface(
        "signatures",
        lambda folder: ask(folder, material),
        cases,
        lambda random_, folder: draw(random_, folder, material),
        draws=300,
    )
