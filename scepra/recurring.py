"""A service that looks at something again and again."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()


class Recurring(Service):
    """Looks, and looks again some seconds after the last look has ended.

    What goes wrong in a look is logged, and the next one comes all the same. When the service stops, the look that is
    under way is waited for, and then :meth:`end`.

    Args:
        reactor: the clock that nobody sets.
        purpose: what it does, for the log.
    """

    def __init__(self, reactor: IReactorTime, purpose: str) -> None:
        self._reactor = reactor
        self._purpose = purpose
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None

    async def look(self) -> None:
        """One look, and what comes of it."""
        raise NotImplementedError

    def pause(self) -> float:
        """In how many seconds the next look is due, from now."""
        raise NotImplementedError

    async def end(self) -> None:
        """What is to be done when there are no more looks."""

    def startService(self) -> None:
        """Look at once, and from now on."""
        super().startService()
        self._timer = self._reactor.callLater(0, self._tick)

    def stopService(self) -> Deferred[None]:
        """Look no more."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._looking is not None:
            await self._looking
        await self.end()

    def _tick(self) -> None:
        self._looking = Deferred.fromCoroutine(self.look())
        self._looking.addBoth(self._again)

    def _again(self, outcome: Failure | None) -> None:
        self._looking = None
        if isinstance(outcome, Failure):
            log.failure("{purpose}", outcome, purpose=self._purpose)
        if self.running:
            self._timer = self._reactor.callLater(self.pause(), self._tick)
