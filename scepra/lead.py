"""Which of all processes does what only one may do at a time: by a lease in the store (FT-17, FT-43)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.errors import StoreError
from scepra.store import leases
from scepra.store.database import Database

log = Logger()


class Lead:
    """Who is in the lead says so anew in good time before its lease ends; who stops gives it up.

    Args:
        database: where the lease is.
        name: of what is led.
        owner: names this process in leases.
        now: UTC.
        reactor: the clock that nobody sets.
        seconds: how long a lease lasts.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        owner: str,
        now: Callable[[], datetime],
        reactor: IReactorTime,
        seconds: float,
    ) -> None:
        self._database = database
        self._name = name
        self._owner = owner
        self._now = now
        self._reactor = reactor
        self._seconds = seconds
        self._until = float("-inf")

    async def is_ours(self) -> bool:
        """Whether it is this process that leads now.

        Raises:
            StoreError: the database does not answer.
        """
        clock, now = self._reactor.seconds(), self._now()
        if clock < self._until - self._seconds / 2:
            return True
        owner = await self._database.read(leases.driver, self._name, now)
        ours = owner in (None, self._owner) and await self._database.write(
            leases.drive, self._name, self._owner, now, now + timedelta(seconds=self._seconds)
        )
        self._until = clock + self._seconds if ours else float("-inf")
        return ours

    async def give_up(self) -> None:
        """Let others lead; a lease that cannot be given up ends by itself."""
        try:
            await self._database.write(leases.release, self._name, self._owner, self._now())
        except StoreError as error:
            log.warn("giving up {name}: {error}", name=self._name, error=error.reason)
