"""Who signs the RA's requests to a CA (RA-13, RA-14): keys of the RA's own, never a client's."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identity, SoftwareKey

LIFETIME = timedelta(days=7)
_SHA256_RSA = der.sequence(der.oid(oid.SHA256_RSA), der.NULL)
# digitalSignature and keyEncipherment: it signs the request and the answer is encrypted to it.
_KEY_USAGE = der.sequence(
    der.oid(oid.KEY_USAGE), b"\x01\x01\xff", der.octet_string(der.tlv(der.BIT_STRING, b"\x05\xa0"))
)
_EXTENSIONS = der.explicit(3, der.sequence(_KEY_USAGE))


class UpstreamSigner(Protocol):
    """A strategy: which identity signs a request."""

    async def identity(self, subject_der: bytes, now: datetime) -> Identity:
        """The identity for a request with this subject (an encoded Name)."""


class RACertificate:
    """``ra-certificate``: one long-lived certificate that the CA issued to the RA."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def identity(self, subject_der: bytes, now: datetime) -> Identity:
        return self._identity


class EphemeralSelfSigned:
    """``ephemeral-self-signed``: one RSA key a period, a fresh self-signed certificate with the CSR's subject a
    request.

    Args:
        make_key: makes an RSA key, away from the reactor's thread.
        period: how long one key serves.
    """

    def __init__(self, make_key: Callable[[], Awaitable[rsa.RSAPrivateKey]], period: timedelta) -> None:
        self._make_key = make_key
        self._period = period
        self._key: SoftwareKey | None = None
        self._until: datetime | None = None

    async def identity(self, subject_der: bytes, now: datetime) -> Identity:
        if self._key is None or self._until is None or now >= self._until:
            # Two first requests may each make a key; either serves, and the last one made stays.
            self._key, self._until = SoftwareKey(await self._make_key()), now + self._period
        return Identity(self_signed(self._key, subject_der, now), self._key)


def self_signed(key: SoftwareKey, subject_der: bytes, now: datetime) -> Certificate:
    """A certificate of version 3 over *key* for one week around *now*, its serial number random and positive."""
    serial = int.from_bytes(os.urandom(16), "big") | 1
    validity = der.sequence(_time(now - timedelta(days=1)), _time(now + LIFETIME))
    tbs = der.sequence(
        der.explicit(0, der.integer(2)),
        der.integer(serial),
        _SHA256_RSA,
        subject_der,
        validity,
        subject_der,
        key.public.der,
        _EXTENSIONS,
    )
    return Certificate.parse(der.sequence(tbs, _SHA256_RSA, der.bit_string(key.sign(tbs, Digest.SHA256))))


def _time(moment: datetime) -> bytes:
    """A Time as RFC 5280, 4.1.2.5 wants it."""
    if moment.year < 2050:
        return der.tlv(der.UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))
    return der.tlv(der.GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode("ascii"))
