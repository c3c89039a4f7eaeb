"""Whether a certificate was revoked, by lists from configured places (AC-049, FT-57).

A list is kept in memory until the next one is due by its own word, fetched anew before that, and outlives its source
until then; after that nothing is known. Where lists come from is configured and nothing else: no certificate and no
message names a place (I11).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.errors import RevocationError, ScepError
from scepra.listsource import Source, Unavailable
from scepra.provenance import Revocation, issuer_of, issuers_asked, with_successors
from scepra.recurring import Shared
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.crl import RevocationList, crl_der, parse_crl

log = Logger()

RETRY = 30.0
"""How soon after a failure a source is tried again, in seconds."""
_Held = tuple[Source, bytes]
"""Where a list comes from, and the SHA-256 of its CA's key."""


class RevocationLists(Shared[None]):
    """The lists of some CAs.

    Args:
        name: names them in the log.
        anchors: the CAs whose lists count; so do those of the CAs that follow them.
        sources: one for each list.
        digests: those that may have signed a list.
        unknown: what comes of a certificate of which nothing is known: UNKNOWN, which is refused; an error, so that its
            client comes again; or GOOD, as if there were no lists.
        refresh: how often sources are asked, in seconds.
        now: UTC.
        reactor: the clock that nobody sets.
        slowly: calls a function where it may take its time.
        served: whether the lists themselves are kept too, to be handed on.
        lineages: what is known now of CAs that follow each other.
    """

    def __init__(
        self,
        name: str,
        anchors: tuple[Certificate, ...],
        sources: Sequence[Source],
        *,
        digests: frozenset[Digest],
        unknown: Literal["refuse", "retry", "allow"],
        refresh: float,
        now: Callable[[], datetime],
        reactor: IReactorTime,
        slowly: Callable[..., Awaitable[Any]],
        served: bool = False,
        lineages: Callable[[], Iterable[tuple[Certificate, ...]]] = tuple,
    ) -> None:
        super().__init__(reactor, f"fetching revocation lists of {name}", refresh)
        # Not "name", which a service has only once below its parent.
        self.label = name
        self._configured = anchors
        self._lineages = lineages
        self._sources = tuple(sources)
        self._digests = digests
        self._unknown = unknown
        self._now = now
        self._slowly = slowly
        # One CA after another may have its list at one place; the last one of each counts to its end.
        self._lists: dict[_Held, RevocationList] = {}
        self._newest: dict[Source, RevocationList] = {}
        self._served = served
        self._encodings: dict[_Held, bytes] = {}

    @property
    def _anchors(self) -> tuple[Certificate, ...]:
        anchors = self._configured
        for each in self._lineages():
            anchors = with_successors(anchors, each)
        return anchors

    def pause(self) -> float:
        """Until sources are asked again: well before the first list ends, and soon after a failure."""
        now = self._now()
        left = [
            (held.next_update - now).total_seconds() if (held := self._newest.get(source)) is not None else 0.0
            for source in self._sources
        ]
        pause = min(self._every, max(min(left) / 2, RETRY))
        # Spread, so that many processes do not come at once.
        return pause * random.uniform(0.8, 1.0)  # noqa: S311 - no secret hangs on it

    async def standing(self, certificate: Certificate) -> Revocation:
        """What is known of a certificate that one of the anchors issued.

        Raises:
            RevocationError: nothing is, and its client is to come again.
        """
        if self._is_due():
            await self.shared()
        found = self._look_up(certificate)
        if found is not Revocation.UNKNOWN or self._unknown == "refuse":
            return found
        if self._unknown == "retry":
            raise RevocationError(f"there is no list for {self.label} that is good now")
        log.warn(
            "revocation of {fingerprint} is not known, and {name} allows that",
            fingerprint=certificate.fingerprint(),
            name=self.label,
        )
        return Revocation.GOOD

    async def serve(self, issuer: bytes, serial: int, asker: Certificate) -> bytes | None:
        """The newest list, in DER, for a certificate, or for a CA by its own certificate (MSG-51, MSG-52).

        Args:
            issuer, serial: what the certificate says.
            asker: who is told: a list for some certificates only is for it, and of two CAs of one name the one counts
                that issued it.

        Returns:
            None where it is none of these CAs.

        Raises:
            RevocationError: it is, and there is no list of it that is good now (FT-57).
            ScepError: the name cannot be read.
        """
        wanted = issuers_asked(issuer, serial, self._anchors)
        if not wanted:
            return None
        if self._is_due():
            await self.shared()
        now = self._now()
        found = [
            (issuer_of(asker, (held.issuer,)) is not None, held.this_update, self._encodings[where])
            for where, held in self._lists.items()
            if held.valid_at(now)
            and any(_one(held.issuer, each) for each in wanted)
            and (held.points is None or held.covers(asker))
        ]
        if not found:
            raise RevocationError(f"there is no list for {self.label} that is good now")
        return max(found)[2]

    def _look_up(self, certificate: Certificate) -> Revocation:
        issuer = issuer_of(certificate, self._anchors)
        now, found = self._now(), Revocation.UNKNOWN
        for held in self._lists.values():
            if issuer is None or not _one(held.issuer, issuer):
                continue
            try:
                covered = held.covers(certificate)
            except ScepError:
                covered = False
            if covered and certificate.serial in held.revoked:
                # Also on a list that has ended: only a newer one takes a certificate off it.
                return Revocation.REVOKED
            if covered and held.valid_at(now):
                found = Revocation.GOOD
        return found

    def _is_due(self) -> bool:
        """Whether somebody who asks now has to wait: something is missing or new, and was not tried just now."""
        if self._waiting is not None:
            return not self._complete()
        if any(source.changed() for source in self._sources):
            return True
        return not self._complete() and self._reactor.seconds() - self._looked >= RETRY

    def _complete(self) -> bool:
        """Whether there is a good list from each source."""
        now = self._now()
        return all((held := self._newest.get(source)) is not None and held.valid_at(now) for source in self._sources)

    async def look(self) -> None:
        """Ask every source, all at once: one that is silent keeps no other waiting."""
        await gatherResults(
            [Deferred.fromCoroutine(self._fetch(source)) for source in self._sources], consumeErrors=True
        )

    async def _fetch(self, source: Source) -> None:
        try:
            content = await source.fetch()
            fresh: RevocationList = await self._slowly(parse_crl, content, self._anchors, self._digests)
        except Unavailable as error:
            log.error("revocation list {place}: {reason}", place=source.place, reason=str(error))
        except ScepError as error:
            log.error("revocation list {place} is not used: {reason}", place=source.place, reason=error.reason)
        else:
            self._take(source, fresh, content)

    def _take(self, source: Source, fresh: RevocationList, content: bytes) -> None:
        """Keep a list unless what is kept is newer: an old one that is played again takes nothing off."""
        where = (source, fresh.issuer.public_key.sha256)
        held = self._lists.get(where)
        if held is not None and fresh.this_update < held.this_update:
            log.error("revocation list {place} is older than the one before, which stays", place=source.place)
            return
        if not fresh.valid_at(self._now()):
            log.error(
                "revocation list {place} is good from {start} to {end} only",
                place=source.place,
                start=f"{fresh.this_update:%Y-%m-%d %H:%M}",
                end=f"{fresh.next_update:%Y-%m-%d %H:%M}",
            )
            return
        if held is None or fresh.this_update != held.this_update:
            log.info(
                "revocation list {place}: {count} certificates, good until {end}",
                place=source.place,
                count=len(fresh.revoked),
                end=f"{fresh.next_update:%Y-%m-%d %H:%M}",
            )
        self._lists[where] = self._newest[source] = fresh
        if self._served:
            self._encodings[where] = crl_der(content)


def _one(issuer: Certificate, other: Certificate) -> bool:
    """Whether two certificates are one CA's: it may have several, for one name and key."""
    return issuer.public_key.same_key(other.public_key) and issuer.subject.matches(other.subject)
