"""What a process says of itself where all others, the command line and monitoring read it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from scepra.config.source import Source
from scepra.errors import StoreError
from scepra.recurring import Recurring
from scepra.store import processes
from scepra.store.database import Database
from scepra.store.owner import owner_of
from scepra.store.processes import Process

log = Logger()

EVERY = 60.0
"""How often, in seconds, a process says that it runs."""


class Presence(Recurring):
    """Says that this process serves clients, since when, and by which configuration, until it ends.

    Args:
        owner: names this process in leases.
        source: the configuration that it goes by.
        leader: the process id of its master; None: it serves alone.
        now: UTC.
        reactor: the clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        owner: str,
        source: Source,
        leader: int | None,
        now: Callable[[], datetime],
        reactor: IReactorTime,
    ) -> None:
        super().__init__(reactor, "saying that this process runs", EVERY)
        self._database = database
        self._now = now
        process, began = os.getpid(), now()
        self._process = Process(
            owner=owner,
            role="single" if leader is None else "worker",
            host=socket.gethostname(),
            process=process,
            leader=owner_of(process if leader is None else leader),
            file=source.absolute,
            started=began,
            seen=began,
            configuration=source.version,
            loaded=began,
            told=began,
        )

    def taken(self, version: str) -> None:
        """This process goes by another configuration now."""
        now = self._now()
        self._process = replace(self._process, configuration=version, loaded=now, told=now, failure="")
        self.hurry()

    def refused(self, failure: str) -> None:
        """It was told to take one and has not; *failure* says why."""
        self._process = replace(self._process, told=self._now(), failure=failure)
        self.hurry()

    async def look(self) -> None:
        """Say it, and take away what those have said that have ended without a word."""
        try:
            await self._database.write(processes.keep, replace(self._process, seen=self._now()))
        except StoreError as error:
            log.error("nobody is told that this process runs: {error}", error=str(error))

    async def end(self) -> None:
        """Take it away."""
        try:
            await self._database.write(processes.forget, self._process.owner)
        except StoreError as error:
            # Who looks can see that the process has ended.
            log.warn("nobody is told that this process has ended: {error}", error=str(error))
