"""Watching when the certificates end without which nothing goes on, and saying so in good time (FT-49, CERT-12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from scepra.audit import RECORDED
from scepra.errors import StoreError
from scepra.forwarding import Forwarding
from scepra.lead import Lead
from scepra.recurring import Recurring
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identities
from scepra.store import watching
from scepra.store.database import Database
from scepra.store.watching import Watched
from scepra.upstream.belief import is_ra
from scepra.upstream.signer import RACertificate

log = Logger()

EVERY = 300.0
LEASE = 2 * EVERY
DRIVER = ":watch"
"""Stands in the table of drivers where upstreams do; no upstream can have this name."""
LEVELS = {0: LogLevel.critical, 1: LogLevel.error, 7: LogLevel.error, 30: LogLevel.warn}
"""How loudly it is said that no more days than these are left."""


class Watch(Recurring):
    """Looks at all certificates every five minutes; of all processes, one does at a time.

    Args:
        database: where they are written down, with what was said of them.
        identities: of the profiles, by their names.
        forwardings: the ways to the CAs, by their names.
        owner: names this process in leases.
        now: UTC.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        identities: Mapping[str, Identities],
        forwardings: Mapping[str, Forwarding],
        owner: str,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor, "watching certificates", EVERY)
        self._database = database
        self._identities = identities
        self._forwardings = forwardings
        self._now = now
        self._lead = Lead(database, DRIVER, owner, now, reactor, LEASE)

    async def look(self) -> None:
        """Write down what is in use, and say what ends soon."""
        try:
            if not await self._lead.is_ours():
                return
            now = self._now()
            found = {name: list(self._profile(name, now)) for name in self._identities}
            # What a CA has was not asked yet may be what stands there.
            seen = {
                name: list(self._upstream(name, now))
                for name, each in self._forwardings.items()
                if each.upstream.view is not None
            }
            profiles, upstreams = (("profile", name) for name in found), (("upstream", name) for name in seen)
            every = [each for certificates in (*found.values(), *seen.values()) for each in certificates]
            await self._database.write(watching.keep, every, [*profiles, *upstreams])
            configured = [("profile", name) for name in found] + [("upstream", name) for name in self._forwardings]
            await self._database.write(watching.forget, configured)
            for each in await self._database.read(watching.listing):
                await self._warn(each, now)
        except StoreError as error:
            log.error("watching certificates waits: {error}", error=error.reason)

    async def end(self) -> None:
        """Others may watch."""
        await self._lead.give_up()

    async def _warn(self, certificate: Watched, now: datetime) -> None:
        """Say once, over all processes and starts, that so few days are left."""
        days = threshold(certificate.ends - now)
        if days is None or (certificate.warned is not None and certificate.warned <= days):
            return
        if await self._database.write(watching.warn, certificate, days):
            log.emit(
                LEVELS[days],
                "the certificate of {kind} {name} for {role}, {subject}, {ends}: sha256:{fingerprint}",
                kind=certificate.kind,
                name=certificate.name,
                role=certificate.role,
                subject=certificate.subject,
                ends=remaining(certificate.ends - now),
                fingerprint=certificate.fingerprint.hex(),
            )

    def _profile(self, name: str, now: datetime) -> Iterator[Watched]:
        """The RA's own certificates of a profile: those that clients are given now, and those that come next."""
        identities = self._identities[name]
        for generation in (identities.keyring.current, identities.upcoming):
            if generation is None:
                continue
            signing, encryption = generation.signing.certificate, generation.encryption.certificate
            if signing == encryption:
                yield from _watched("profile", name, "both", signing, now)
            else:
                yield from _watched("profile", name, "signing", signing, now)
                yield from _watched("profile", name, "encryption", encryption, now)

    def _upstream(self, name: str, now: datetime) -> Iterator[Watched]:
        """What is trusted of a CA and of the one that is to follow it, and what the RA is known to them by."""
        forwarding = self._forwardings[name]
        view = forwarding.upstream.view
        if view is not None:
            following = (*view.announced, *(view.next.signers if view.next is not None else ()))
            for certificate in view.signers:
                yield from _watched("upstream", name, "ra" if is_ra(certificate) else "ca", certificate, now)
            for certificate in dict.fromkeys(each for each in following if each not in view.signers):
                yield from _watched("upstream", name, "next ra" if is_ra(certificate) else "next ca", certificate, now)
        if isinstance(forwarding.signer, RACertificate):
            yield from _watched("upstream", name, "signer", forwarding.signer.own.certificate, now)


def _watched(kind: str, name: str, role: str, certificate: Certificate, now: datetime) -> Iterator[Watched]:
    begins, ends = certificate.not_before, certificate.not_after
    if begins is not None and ends is not None:
        fingerprint = bytes.fromhex(certificate.fingerprint())
        yield Watched(kind, name, fingerprint, role, str(certificate.subject)[:RECORDED], begins, ends, now)


def threshold(left: timedelta) -> int | None:
    """The least number of days that is said and is not less than what is left; None if more is left than is said."""
    return next((days for days in LEVELS if left <= timedelta(days=days)), None)


def remaining(left: timedelta) -> str:
    """How long a certificate is still good, for people."""
    if left <= timedelta(0):
        return "has expired"
    hours = left // timedelta(hours=1)
    return f"ends in {hours // 24} days" if hours >= 48 else f"ends in {hours} hours"
