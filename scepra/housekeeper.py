"""Ending what has taken too long, taking away what is old, and watching the clock (FT-15, FT-46, FT-47)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.config.store import Retention
from scepra.errors import StoreError
from scepra.lead import Lead
from scepra.recurring import Recurring
from scepra.scep.identity import Identities
from scepra.store import housekeeping
from scepra.store.database import Database

log = Logger()

EVERY = 60.0
LEASE = 2 * EVERY
"""For how many seconds one process keeps house before it has to say so again."""
SWEEP_EVERY = 3600.0
DRIVER = ":housekeeping"
"""Stands in the table of drivers where upstreams do; no upstream can have this name."""


class Housekeeper(Recurring):
    """Keeps house once a minute; of all processes, one does at a time.

    Nothing is ended or taken away while the clock is not to be believed: behind the latest time that was ever seen, or
    outside the validity of the RA's own certificates.

    Args:
        identities: of all profiles.
        owner: names this process in leases.
        now: UTC.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        retention: Retention,
        identities: tuple[Identities, ...],
        owner: str,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor, "housekeeping", EVERY)
        self._database = database
        self._retention = retention
        self._identities = identities
        self._now = now
        self._lead = Lead(database, DRIVER, owner, now, reactor, LEASE)
        self._swept = float("-inf")

    async def look(self) -> None:
        """Keep house once."""
        await self.keep()

    async def keep(self) -> None:
        """Everything that is to be done now."""
        now = self._now()
        try:
            if not await self._lead.is_ours():
                return
            if not await self._clock_is_right(now):
                return
            for ended in await self._database.write(housekeeping.expire, now):
                log.warn("transaction {id} took longer than is configured and is refused", id=ended)
            if self._reactor.seconds() - self._swept >= SWEEP_EVERY:
                self._swept = self._reactor.seconds()
                await self._sweep(now)
        except StoreError as error:
            log.error("housekeeping waits: {error}", error=str(error))

    async def _clock_is_right(self, now: datetime) -> bool:
        if not all(each.keyring.valid_at(now) for each in self._identities):
            log.critical("an RA certificate is not valid now, or the clock is wrong: nothing expires until it is")
            return False
        # Only now: a time that is years ahead must not be noted, or the right one would be behind for years.
        behind = await self._database.write(housekeeping.tick, now)
        if behind > housekeeping.SET_BACK:
            log.critical(
                "the clock is {behind} behind the latest time seen: nothing expires until it has caught up",
                behind=str(behind).split(".", maxsplit=1)[0],
            )
            return False
        return True

    async def _sweep(self, now: datetime) -> None:
        while self.running:
            swept = await self._database.write(housekeeping.sweep, self._retention, now)
            gone = {name: count for name, count in swept.counts.items() if count}
            if gone:
                log.info("taken away: {gone}", gone=", ".join(f"{count} {name}" for name, count in gone.items()))
            if not swept.more:
                return
