"""Services that look at something again and again."""

from __future__ import annotations

import random
from typing import Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

T = TypeVar("T")


def backoff(first: float, times: int, longest: float) -> float:
    """How long to wait before another attempt, in seconds: doubled each time, and spread, so that what failed together
    does not come back together.

    Args:
        first, longest: bounds, before it is spread by a fifth to both sides.
        times: how often it was attempted before.
    """
    pause = min(first * 2.0 ** min(times, 20), longest)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 - no secret hangs on it


class Recurring(Service):
    """Looks, and looks again some seconds after the last look has ended.

    What goes wrong in a look is logged, and the next one comes all the same. When the service stops, the look that is
    under way is waited for, and then :meth:`end`.

    Args:
        reactor: the clock that nobody sets.
        purpose: what it does, for the log.
        every: how long it waits after a look, about, in seconds.
    """

    def __init__(self, reactor: IReactorTime, purpose: str, every: float) -> None:
        self._reactor = reactor
        self._purpose = purpose
        self._every = every
        self._timer: IDelayedCall | None = None
        self._looking: Deferred[Any] | None = None
        self._hurried = False

    async def look(self) -> Any:
        """One look, and what comes of it."""
        raise NotImplementedError

    def pause(self) -> float:
        """In how many seconds the next look is due, from now."""
        # Not all processes look at the same moment.
        return self._every * random.uniform(0.8, 1.2)  # noqa: S311 - no secret hangs on it

    def failed(self, failure: Failure) -> float:
        """Tell that a look went wrong; in how many seconds the next one is due, from now."""
        log.failure("{purpose}", failure, purpose=self._purpose)
        return self.pause()

    async def end(self) -> None:
        """What is to be done when there are no more looks."""

    def startService(self) -> None:
        """Look at once, and from now on."""
        super().startService()
        self._timer = self._reactor.callLater(0, self._tick)

    def hurry(self) -> None:
        """Look now, or once more when the look that is under way has ended."""
        if self._timer is not None and self._timer.active():
            self._timer.reset(0)
        else:
            self._hurried = True

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
        self._looking = self._begin()
        self._looking.addBoth(self._again)

    def _begin(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.look())

    def _again(self, outcome: object) -> None:
        self._looking = None
        pause = self.failed(outcome) if isinstance(outcome, Failure) else self.pause()
        hurried, self._hurried = self._hurried, False
        if self.running:
            self._timer = self._reactor.callLater(0 if hurried else pause, self._tick)


class Shared(Recurring, Generic[T]):
    """Looks again and again, and whenever somebody has to know; who asks meanwhile shares the look and its outcome.

    When the service stops, the look that is under way is not waited for: it ends by its own deadline.
    """

    def __init__(self, reactor: IReactorTime, purpose: str, every: float) -> None:
        super().__init__(reactor, purpose, every)
        self._waiting: list[Deferred[T]] | None = None
        self._looked = float("-inf")

    def shared(self) -> Deferred[T]:
        """The outcome of the look that is under way, or of one that begins now."""
        waiter: Deferred[T] = Deferred()
        if self._waiting is not None:
            self._waiting.append(waiter)
            return waiter
        self._waiting = [waiter]
        Deferred.fromCoroutine(self.look()).addBoth(self._tell)
        return waiter

    def _begin(self) -> Deferred[Any]:
        return self.shared()

    def _tell(self, outcome: T | Failure) -> None:
        self._looked = self._reactor.seconds()
        waiting, self._waiting = self._waiting or [], None
        for waiter in waiting:
            waiter.callback(outcome)

    async def _stop(self) -> None:
        await self.end()
