"""Private keys of devices and of the lab's own CA: made, written, read."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "EC-P-256": ec.SECP256R1,
    "EC-P-384": ec.SECP384R1,
    "EC-P-521": ec.SECP521R1,
}


def new_key(kind: str = "RSA-2048") -> PrivateKey:
    """A fresh key.

    Args:
        kind: ``RSA-`` and the bits of its modulus, ``EC-P-256``, ``EC-P-384`` or ``EC-P-521``.

    Raises:
        ValueError: *kind* is none of these.
    """
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    algorithm, _, bits = kind.partition("-")
    if algorithm != "RSA" or not bits.isdecimal():
        raise ValueError(f"not a kind of key: {kind!r}")
    return rsa.generate_private_key(65537, int(bits))


def write_key(key: PrivateKey) -> bytes:
    """PKCS#8 in PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def read_key(pem: bytes) -> PrivateKey:
    """The key that :func:`write_key` wrote.

    Raises:
        ValueError: it is none.
    """
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, PrivateKey):
        raise ValueError("neither an RSA nor an EC key")
    return key
