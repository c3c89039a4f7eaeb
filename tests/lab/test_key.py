"""Keys of devices."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from scepra.lab.key import new_key, read_key, write_key


@pytest.mark.parametrize(
    ("kind", "of_type", "bits"),
    [
        ("RSA-1024", rsa.RSAPrivateKey, 1024),
        ("EC-P-256", ec.EllipticCurvePrivateKey, 256),
        ("EC-P-384", ec.EllipticCurvePrivateKey, 384),
        ("EC-P-521", ec.EllipticCurvePrivateKey, 521),
    ],
)
def test_new_keys_are_written_and_read(kind: str, of_type: type, bits: int) -> None:
    """A key is of the kind that was asked for, and the same after it was written and read."""
    key = new_key(kind)
    assert isinstance(key, of_type)
    assert key.key_size == bits
    assert read_key(write_key(key)).public_key() == key.public_key()


@pytest.mark.parametrize("kind", ["", "RSA", "RSA-", "RSA-many", "EC-P-192", "DSA-2048"])
def test_unknown_kinds_are_refused(kind: str) -> None:
    """What is no kind of key is refused by name."""
    with pytest.raises(ValueError, match="not a kind of key"):
        new_key(kind)


def test_other_keys_are_refused() -> None:
    """A key of a type that SCEP does not use is no key of a device."""
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ValueError, match="neither an RSA nor an EC key"):
        read_key(pem)
