"""Who signs the RA's requests to a CA (RA-13, RA-14): keys of the RA's own, never a client's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from scepra.scep.certificate import Certificate
from scepra.scep.certification import key_usage, self_signed
from scepra.scep.identity import Identity, RAKey

# It signs the request, and the answer is encrypted to it.
_EXTENSIONS = (key_usage(("digitalSignature", "keyEncipherment")),)


@dataclass(frozen=True, slots=True)
class Signing:
    """An identity that signs a request, and the name by which its key is found again; None: it is the configured
    one."""

    identity: Identity
    key_id: str | None = None


class UpstreamSigner(Protocol):
    """A strategy: which identity signs a request."""

    async def identity(self, subject_der: bytes, now: datetime) -> Signing:
        """The identity for a request with this subject (an encoded Name)."""

    async def again(self, key_id: str | None, certificate: bytes | None) -> Identity:
        """The identity that signed a request before: its polls are signed by the same key (RA-20)."""


class Keys(Protocol):
    """What makes keys, and keeps them for as long as answers may come that are encrypted to them."""

    async def make(self) -> tuple[str, RAKey]:
        """A new key, and the name by which it is found again, also by another process."""

    async def load(self, key_id: str) -> RAKey:
        """The key with a name."""


class RACertificate:
    """``ra-certificate``: one long-lived certificate that the CA issued to the RA."""

    def __init__(self, identity: Identity) -> None:
        self.own = identity

    async def identity(self, subject_der: bytes, now: datetime) -> Signing:
        return Signing(self.own)

    async def again(self, key_id: str | None, certificate: bytes | None) -> Identity:
        return self.own


class EphemeralSelfSigned:
    """``ephemeral-self-signed``: one RSA key a period, a fresh self-signed certificate with the CSR's subject a
    request.

    Args:
        keys: makes and keeps them.
        period: how long one key serves.
        lifetime: of the certificates; polls are signed with them for as long as a request may wait.
    """

    def __init__(self, keys: Keys, period: timedelta, lifetime: timedelta) -> None:
        self._keys = keys
        self._period = period
        self._lifetime = lifetime
        self._current: tuple[str, RAKey] | None = None
        self._until: datetime | None = None
        self._waiting: list[Deferred[tuple[str, RAKey]]] = []

    async def identity(self, subject_der: bytes, now: datetime) -> Signing:
        if self._current is None or self._until is None or now >= self._until:
            self._current, self._until = await self._next(), now + self._period
        key_id, key = self._current
        return Signing(Identity(self_signed(key, subject_der, now, _EXTENSIONS, self._lifetime), key), key_id)

    def _next(self) -> Deferred[tuple[str, RAKey]]:
        """The next key: one, however many requests wait for it at once."""
        waiter: Deferred[tuple[str, RAKey]] = Deferred()
        self._waiting.append(waiter)
        if len(self._waiting) == 1:
            Deferred.fromCoroutine(self._keys.make()).addBoth(self._made)
        return waiter

    def _made(self, outcome: tuple[str, RAKey] | Failure) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(outcome)

    async def again(self, key_id: str | None, certificate: bytes | None) -> Identity:
        if key_id is None or certificate is None:
            raise ValueError("no key of its own signed this request")
        return Identity(Certificate.parse(certificate), await self._keys.load(key_id))
