"""Who signs the RA's requests to a CA (RA-13, RA-14): keys of the RA's own, never a client's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import rsa

from scepra.scep.certification import key_usage, self_signed
from scepra.scep.identity import Identity, SoftwareKey

# It signs the request, and the answer is encrypted to it.
_EXTENSIONS = (key_usage(("digitalSignature", "keyEncipherment")),)


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
        return Identity(self_signed(self._key, subject_der, now, _EXTENSIONS), self._key)
