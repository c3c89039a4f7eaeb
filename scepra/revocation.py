"""Whether a certificate was revoked, by lists from configured places (AC-049, FT-57).

A list is kept in memory until the next one is due by its own word, fetched anew before that, and outlives its source
until then; after that nothing is known. Where lists come from is configured and nothing else: no certificate and no
message names a place (I11).
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from scepra.errors import RevocationError, ScepError
from scepra.http.agent import Target
from scepra.http.request import Origin, Unanswered
from scepra.provenance import Revocation, issuer_of
from scepra.recurring import Shared
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.crl import RevocationList, parse_crl

log = Logger()

RETRY = 30.0
"""How soon after a failure a source is tried again, in seconds."""


class Unavailable(Exception):
    """A source gives no list. Its text says why, and repeats nothing of what the source said."""


class Source(Protocol):
    """Where one list comes from; ``place`` names it in the log."""

    place: str

    def changed(self) -> bool:
        """Whether it is known to have something new."""

    async def fetch(self) -> bytes:
        """What it has.

        Raises:
            Unavailable: it has nothing now.
        """


class WebSource:
    """A list at an http or https URL: nothing is followed, and what is too large is not read to its end.

    Args:
        url: as configured.
        origin: the way there, which bounds time and size.
    """

    def __init__(self, url: str, origin: Origin) -> None:
        self.place = url
        self._target = Target(url)
        self._origin = origin

    def changed(self) -> bool:
        """Nobody knows before asking."""
        return False

    async def fetch(self) -> bytes:
        """What is there now."""
        try:
            reply = await self._origin.send("GET", self._target, Headers())
        except Unanswered as error:
            raise Unavailable(error.reason) from error
        if reply.status != 200:
            raise Unavailable(f"no list but {reply}")
        return reply.body


class FileSource:
    """A list in a file, read again when that has changed.

    Args:
        slowly: calls a function where it may take its time.
        limit: the largest file that is read, in octets.
    """

    def __init__(self, path: Path, slowly: Callable[..., Awaitable[Any]], limit: int) -> None:
        self.place = str(path)
        self._path = path
        self._slowly = slowly
        self._limit = limit
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether another file stands there now than was read last."""
        return self._state() != self._seen

    async def fetch(self) -> bytes:
        """What it holds."""
        self._seen = self._state()
        content: bytes = await self._slowly(self._read)
        return content

    def _state(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                content = file.read(self._limit + 1)
        except OSError as error:
            raise Unavailable(f"cannot be read: {os.strerror(error.errno or 0)}") from None
        if len(content) > self._limit:
            raise Unavailable(f"is larger than {self._limit} octets")
        return content


class RevocationLists(Shared[None]):
    """The lists of some CAs.

    Args:
        name: names them in the log.
        anchors: the CAs whose lists count.
        sources: one for each list.
        digests: those that may have signed a list.
        unknown: what comes of a certificate of which nothing is known: UNKNOWN, which is refused; an error, so that its
            client comes again; or GOOD, as if there were no lists.
        refresh: how often sources are asked, in seconds.
        now: UTC.
        reactor: the clock that nobody sets.
        slowly: calls a function where it may take its time.
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
    ) -> None:
        super().__init__(reactor, f"fetching revocation lists of {name}", refresh)
        # Not "name", which a service has only once below its parent.
        self.label = name
        self._anchors = anchors
        self._sources = tuple(sources)
        self._digests = digests
        self._unknown = unknown
        self._now = now
        self._slowly = slowly
        self._lists: dict[Source, RevocationList] = {}

    def pause(self) -> float:
        """Until sources are asked again: well before the first list ends, and soon after a failure."""
        now = self._now()
        left = [
            (held.next_update - now).total_seconds() if (held := self._lists.get(source)) is not None else 0.0
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

    def _look_up(self, certificate: Certificate) -> Revocation:
        issuer = issuer_of(certificate, self._anchors)
        now, found = self._now(), Revocation.UNKNOWN
        for held in self._lists.values():
            # A CA's certificates may be several, for one name and key.
            if (
                issuer is None
                or not held.issuer.public_key.same_key(issuer.public_key)
                or not held.issuer.subject.matches(issuer.subject)
            ):
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
        return all((held := self._lists.get(source)) is not None and held.valid_at(now) for source in self._sources)

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
            self._take(source, fresh)

    def _take(self, source: Source, fresh: RevocationList) -> None:
        """Keep a list unless what is kept is newer: an old one that is played again takes nothing off."""
        held = self._lists.get(source)
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
        self._lists[source] = fresh
