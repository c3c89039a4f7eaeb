"""Certification requests of any shape: every octet can be set, and still the signature is right.

A test says what it is about and leaves the rest: ``build()`` is a sound request for ``CN=dev`` with a P-256 key.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from scepra.scep import der, oid

CN, ORGANISATION, UNIT, COUNTRY = (oid.encode(f"2.5.4.{arc}") for arc in (3, 10, 11, 6))
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(bits: int = 2048, which: int = 0) -> rsa.RSAPrivateKey:
    """The same key for all tests; another one for another *which*."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(curve: str = "P-256", which: int = 0) -> ec.EllipticCurvePrivateKey:
    """The same key for all tests; another one for another *which*."""
    curves = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "secp256k1": ec.SECP256K1}
    return ec.generate_private_key(curves[curve]())


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    """The same key for all tests."""
    return ed25519.Ed25519PrivateKey.generate()


def spki(key: PrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of a private key."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def rsa_spki(modulus: int, exponent: int, parameters: bytes = der.NULL) -> bytes:
    """The SubjectPublicKeyInfo of any two numbers."""
    algorithm = der.sequence(der.oid(oid.RSA), parameters)
    return der.sequence(algorithm, der.bit_string(der.sequence(der.integer(modulus), der.integer(exponent))))


def value(kind: bytes, text: str | bytes, tag: int = der.UTF8_STRING) -> bytes:
    """An AttributeTypeAndValue."""
    return der.sequence(der.oid(kind), der.tlv(tag, text.encode() if isinstance(text, str) else text))


def name(*rdns: bytes | list[bytes]) -> bytes:
    """A Name of relative names: each one value, or a list of several."""
    return der.sequence(*(der.tlv(der.SET, *([rdn] if isinstance(rdn, bytes) else rdn)) for rdn in rdns))


def subject(text: str = "dev", tag: int = der.UTF8_STRING) -> bytes:
    """A Name of one common name."""
    return name(value(CN, text, tag))


def attribute(kind: bytes | str, *values: bytes) -> bytes:
    """An Attribute."""
    return der.sequence(der.oid(oid.encode(kind) if isinstance(kind, str) else kind), der.tlv(der.SET, *values))


def challenge(text: str | bytes, tag: int = der.PRINTABLE_STRING) -> bytes:
    """A challengePassword attribute."""
    return attribute(oid.CHALLENGE_PASSWORD, der.tlv(tag, text.encode() if isinstance(text, str) else text))


def extension(kind: bytes | str, content: bytes, critical: bool | None = None) -> bytes:
    """An Extension; ``critical`` is left out, or written as told."""
    flag = b"" if critical is None else der.tlv(der.BOOLEAN, b"\xff" if critical else b"\0")
    return der.sequence(der.oid(oid.encode(kind) if isinstance(kind, str) else kind), flag, der.octet_string(content))


def carried(*extensions: bytes, carrier: bytes = oid.EXTENSION_REQUEST) -> bytes:
    """The attribute that carries extensions."""
    return attribute(carrier, der.sequence(*extensions))


def san(*names: bytes) -> bytes:
    """A subjectAltName extension."""
    return extension(oid.SUBJECT_ALT_NAME, der.sequence(*names))


def dns(text: str | bytes) -> bytes:
    """A dNSName."""
    return der.tlv(0x82, text.encode() if isinstance(text, str) else text)


def other(kind: str, content: bytes) -> bytes:
    """An otherName."""
    return der.tlv(0xA0, der.oid(oid.encode(kind)), der.tlv(0xA0, content))


def upn(text: str) -> bytes:
    """An otherName that is a Microsoft user principal name."""
    return other("1.3.6.1.4.1.311.20.2.3", der.tlv(der.UTF8_STRING, text.encode()))


def eku(*purposes: str) -> bytes:
    """An extendedKeyUsage extension."""
    return extension(oid.EXTENDED_KEY_USAGE, der.sequence(*(der.oid(oid.encode(purpose)) for purpose in purposes)))


def key_usage(content: bytes) -> bytes:
    """A keyUsage extension of the BIT STRING's content octets."""
    return extension(oid.KEY_USAGE, der.tlv(der.BIT_STRING, content))


def algorithm(kind: bytes, parameters: bytes = b"") -> bytes:
    """An AlgorithmIdentifier."""
    return der.sequence(der.oid(kind), parameters)


def signer(key: PrivateKey) -> tuple[bytes, Callable[[bytes], bytes]]:
    """The usual AlgorithmIdentifier for a key, and how it signs."""
    if isinstance(key, rsa.RSAPrivateKey):
        rsa_algorithm = algorithm(oid.SHA256_RSA, der.NULL)
        return rsa_algorithm, lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algorithm(oid.ECDSA_SHA256), lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))
    return algorithm(oid.ED25519), key.sign


def assemble(signed: bytes, signature_algorithm: bytes, signature: bytes) -> bytes:
    """A CertificationRequest of its three parts."""
    return der.sequence(signed, signature_algorithm, der.bit_string(signature))


def build(
    *attributes: bytes,
    key: PrivateKey | None = None,
    subject: bytes = subject(),
    version: bytes = der.integer(0),
    public_key: bytes | None = None,
    attributes_field: bytes | None = None,
    signature_algorithm: bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """A signed request.

    Args:
        attributes: encoded attributes, in the order in which they shall stand.
        key: the key to certify, which signs as well.
        subject: an encoded Name.
        version: an encoded INTEGER.
        public_key: an encoded SubjectPublicKeyInfo instead of the key's.
        attributes_field: the whole ``[0]`` instead of one made of *attributes*.
        signature_algorithm: an encoded AlgorithmIdentifier instead of the usual one.
        sign: makes the signature instead of the key.
    """
    key = key or ec_key()
    usual, usually = signer(key)
    field = der.tlv(0xA0, *attributes) if attributes_field is None else attributes_field
    signed = der.sequence(version, subject, public_key or spki(key), field)
    return assemble(signed, signature_algorithm or usual, (sign or usually)(signed))


def with_extensions(*extensions: bytes, **options: object) -> bytes:
    """A signed request for these extensions."""
    return build(carried(*extensions), **options)  # type: ignore[arg-type]


def pem(encoding: bytes, label: str = "CERTIFICATE REQUEST") -> bytes:
    """PEM of an encoding."""
    lines = [f"-----BEGIN {label}-----", base64.encodebytes(encoding).decode().strip(), f"-----END {label}-----"]
    return ("\n".join(lines) + "\n").encode()
