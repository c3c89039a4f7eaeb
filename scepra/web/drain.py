"""The listening part of the RA as one service, which ends without dropping what is under way (FT-45)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.web.site import BoundedSite
from scepra.web.underway import UnderWay

log = Logger()

Listen = Callable[[BoundedSite], Awaitable[IListeningPort]]
"""Begins to accept connections for a site."""

_LINGER = 1.0  # How long clients that have their answer may take to hang up, in seconds.


class Front(Service):
    """What clients see of the RA: its ports, and the site that they lead to.

    When it stops, it accepts no more, closes what is idle, and waits for what is under way: whatever clients have asked
    for, whether they still listen or not. What takes longer than the grace is told to come back, and abandoned.
    """

    def __init__(
        self,
        ports: Sequence[Listen],
        site: BoundedSite,
        operations: UnderWay[Any],
        reactor: IReactorTime,
        grace: float,
    ) -> None:
        """
        Args:
            ports: where it listens.
            site: the factory for all of them.
            operations: what the site's resource has under way.
            reactor: the clock.
            grace: how long what is under way may take to end, in seconds.
        """
        self._listen = ports
        self._site = site
        self._operations = operations
        self._reactor = reactor
        self._grace = grace
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Listen.

        Raises:
            twisted.internet.error.CannotListenError: somebody else does.
        """
        super().privilegedStartService()
        failures: list[Failure] = []
        for listen in self._listen:
            maybeDeferred(listen, self._site).addCallbacks(self._ports.append, failures.append)
        if failures:
            failures[0].raiseException()

    def stopService(self) -> Deferred[None]:
        """Drain. The result comes when nothing is under way any more, or was given up."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        site, operations = self._site, self._operations
        for port in self._ports:
            self._take_in(port)
        await gatherResults([maybeDeferred(port.stopListening) for port in self._ports])
        site.drain()
        if not await self._within(self._grace, operations.ended(), site.busy.ended()):
            log.warn("{count} operations are abandoned: the grace has ended", count=len(operations))
            site.abandon()
        await self._within(_LINGER, site.connected.ended())

    def _take_in(self, port: IListeningPort) -> None:
        """Accept whom the kernel has let in already: it would cut them off."""
        connected = self._site.connected
        accepting = IReadDescriptor(port)
        before = -1
        while before < len(connected):
            before = len(connected)
            accepting.doRead()

    async def _within(self, seconds: float, *awaited: Deferred[None]) -> bool:
        outcomes = await DeferredList(awaited, consumeErrors=True).addTimeout(seconds, self._reactor)
        return all(in_time for in_time, _ in outcomes)
