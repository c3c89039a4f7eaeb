"""Certificates, CRLs and certification requests, written (RFC 5280, RFC 2986).

Names, keys and extensions are taken as the octets they are, so that a CA made of this certifies whatever a device asked
for, also where a library would refuse to read it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import KEY_USAGES, Certificate, Extension
from scepra.scep.identity import Identity, RAKey
from scepra.scep.publickey import ECDSA_SIGNATURES, RSA_SIGNATURES, PublicKeyInfo

_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
CRL_NUMBER = oid.encode("2.5.29.20")
_RSA = {digest: identifier for identifier, digest in RSA_SIGNATURES.items() if identifier != oid.SHA1_RSA_ISO}
_ECDSA = {digest: identifier for identifier, digest in ECDSA_SIGNATURES.items()}


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when, UTC."""

    start: datetime
    end: datetime

    @classmethod
    def of(cls, now: datetime, lifetime: timedelta) -> Validity:
        """From an hour before *now*, for clocks that are late, until *lifetime* after it."""
        return cls(now - timedelta(hours=1), now + lifetime)


def name(common_name: str, organisation: str | None = None) -> bytes:
    """The encoding of a distinguished name."""
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes).public_bytes()


def random_serial() -> int:
    """A positive serial number of 127 random bits."""
    return int.from_bytes(os.urandom(16), "big") >> 1 | 1


def build_certificate(
    *,
    subject: bytes,
    public_key: bytes,
    issuer: bytes,
    signer: RAKey,
    validity: Validity,
    extensions: Iterable[Extension] = (),
    serial: int | None = None,
    digest: Digest = Digest.SHA256,
) -> Certificate:
    """Write and sign a certificate of version 3.

    Args:
        subject: an encoded Name; so is *issuer*.
        public_key: an encoded SubjectPublicKeyInfo.
        signer: the issuer's key.
        extensions: in the order in which they will stand.
        serial: its serial number; random if None.
    """
    algorithm = _signature_algorithm(signer.public, digest)
    encoded = [_extension(extension) for extension in extensions]
    signed = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(random_serial() if serial is None else serial),
        algorithm,
        issuer,
        der.sequence(_time(validity.start), _time(validity.end)),
        subject,
        public_key,
        *([der.explicit(3, der.sequence(*encoded))] if encoded else []),
    )
    return Certificate.parse(der.sequence(signed, algorithm, der.bit_string(signer.sign(signed, digest))))


def build_crl(issuer: Identity, validity: Validity, number: int, digest: Digest = Digest.SHA256) -> bytes:
    """Write and sign a CRL that revokes nothing."""
    algorithm = _signature_algorithm(issuer.key.public, digest)
    extensions = (
        authority_key_identifier(issuer.certificate),
        Extension(CRL_NUMBER, False, der.integer(number)),
    )
    signed = der.sequence(
        der.integer(1),
        algorithm,
        issuer.certificate.subject_der,
        _time(validity.start),
        _time(validity.end),
        der.explicit(0, der.sequence(*map(_extension, extensions))),
    )
    return der.sequence(signed, algorithm, der.bit_string(issuer.key.sign(signed, digest)))


def build_csr(
    key: RAKey,
    subject: bytes,
    extensions: Iterable[Extension] = (),
    challenge: str | None = None,
    digest: Digest = Digest.SHA256,
) -> bytes:
    """Write and sign a certification request (PKCS#10).

    Args:
        key: what is to be certified; it signs.
        subject: an encoded Name.
        extensions: what is asked for.
        challenge: the challengePassword.
    """
    algorithm = _signature_algorithm(key.public, digest)
    attributes = []
    if challenge is not None:
        plain = _PRINTABLE.fullmatch(challenge) is not None
        value = der.printable_string(challenge) if plain else der.tlv(der.UTF8_STRING, challenge.encode())
        attributes.append(cms.attribute(oid.CHALLENGE_PASSWORD, value))
    encoded = [_extension(extension) for extension in extensions]
    if encoded:
        attributes.append(cms.attribute(oid.EXTENSION_REQUEST, der.sequence(*encoded)))
    signed = der.sequence(der.integer(0), subject, key.public.der, der.tlv(0xA0, *sorted(attributes)))
    return der.sequence(signed, algorithm, der.bit_string(key.sign(signed, digest)))


def self_signed(
    key: RAKey,
    subject: bytes,
    now: datetime,
    extensions: Iterable[Extension] = (),
    lifetime: timedelta = timedelta(days=7),
) -> Certificate:
    """What a device signs its first request with: its own key, its own name, usually one week (RFC 8894, 2.3)."""
    return build_certificate(
        subject=subject,
        public_key=key.public.der,
        issuer=subject,
        signer=key,
        validity=Validity.of(now, lifetime),
        extensions=extensions,
    )


def basic_constraints(*, ca: bool) -> Extension:
    """Whether the subject is a CA; critical."""
    return Extension(oid.BASIC_CONSTRAINTS, True, der.sequence(b"\x01\x01\xff") if ca else der.sequence())


def key_usage(usages: Iterable[str]) -> Extension:
    """A critical keyUsage of the bits with these names."""
    bits = sum(0x8000 >> KEY_USAGES.index(usage) for usage in usages)
    octets = bits.to_bytes(2, "big").rstrip(b"\0")
    unused = (octets[-1] & -octets[-1]).bit_length() - 1 if octets else 0
    return Extension(oid.KEY_USAGE, True, der.tlv(der.BIT_STRING, bytes((unused,)), octets))


def extended_key_usage(*purposes: bytes) -> Extension:
    """These purposes (content octets of their identifiers); not critical."""
    return Extension(oid.EXTENDED_KEY_USAGE, False, der.sequence(*map(der.oid, purposes)))


def subject_key_identifier(public_key: PublicKeyInfo) -> Extension:
    """The SHA-1 of the key's bits (RFC 5280, 4.2.1.2)."""
    return Extension(oid.SUBJECT_KEY_IDENTIFIER, False, der.octet_string(_key_identifier(public_key)))


def authority_key_identifier(issuer: Certificate) -> Extension:
    """What the issuer's certificate says its key is called, or should say."""
    identifier = issuer.subject_key_identifier or _key_identifier(issuer.public_key)
    return Extension(oid.AUTHORITY_KEY_IDENTIFIER, False, der.sequence(der.tlv(0x80, identifier)))


def _key_identifier(public_key: PublicKeyInfo) -> bytes:
    return hashlib.sha1(public_key.key_bits[1:], usedforsecurity=False).digest()


def _extension(extension: Extension) -> bytes:
    critical = b"\x01\x01\xff" if extension.critical else b""
    return der.sequence(der.oid(extension.oid), critical, der.octet_string(extension.value))


def _signature_algorithm(public_key: PublicKeyInfo, digest: Digest) -> bytes:
    if public_key.kind == "RSA":
        return der.sequence(der.oid(_RSA[digest]), der.NULL)
    return der.sequence(der.oid(_ECDSA[digest]))


def _time(moment: datetime) -> bytes:
    """A Time as RFC 5280, 4.1.2.5 wants it."""
    if moment.year < 2050:
        return der.tlv(der.UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return der.tlv(der.GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode("ascii"))
