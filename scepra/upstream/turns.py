"""Whose turn it is to ask a CA: so many exchanges at once, and a short bounded queue for more, fair between profiles
(DR-15, FT-26)."""

from __future__ import annotations

from collections import OrderedDict, deque

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from scepra.errors import UpstreamError


class Turns:
    """The exchanges of one process with one CA.

    A new request has its turn from before it is recorded until the CA has answered; what waits has not been recorded
    and has used up nothing. The backlog takes its share beside them, and waits for nobody.

    Args:
        name: the upstream's.
        concurrency: how many turns there are at once.
        waiting: how many may wait for one.
        patience: for how long, in seconds.
        reactor: the clock.
    """

    def __init__(self, name: str, concurrency: int, waiting: int, patience: float, reactor: IReactorTime) -> None:
        self._name = name
        self._concurrency = concurrency
        self._most = waiting
        self._patience = patience
        self._reactor = reactor
        self._taken = 0
        self._waiting = 0
        # Those who wait, by profile; the first profile is the next, and is the last then.
        self._queues: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()

    @property
    def busy(self) -> bool:
        """Whether whoever asks now has to wait."""
        return self._taken >= self._concurrency

    async def take(self, profile: str) -> None:
        """Have a turn: those of one profile in the order in which they come, of the profiles one after the other.

        Raises:
            UpstreamError: not sent; too many wait already, or it did not come in time.
        """
        if not self.busy:
            self._taken += 1
            return
        if self._waiting >= self._most:
            self._make_room(profile)
        waiter: Deferred[None] = Deferred()
        self._queues.setdefault(profile, deque()).append(waiter)
        self._waiting += 1
        late = self._reactor.callLater(self._patience, self._give_up, profile, waiter)
        try:
            await waiter
        finally:
            if late.active():
                late.cancel()

    def take_beside(self) -> None:
        """Have a turn now, however many there are: the backlog's, which bounds itself."""
        self._taken += 1

    def end(self) -> None:
        """A turn is over: the next one's begins."""
        self._taken -= 1
        if not self._queues or self.busy:
            return
        profile = next(iter(self._queues))
        waiter = self._queues[profile][0]
        self._queues.move_to_end(profile)
        self._leave(profile, waiter)
        self._taken += 1
        waiter.callback(None)

    def _make_room(self, profile: str) -> None:
        """Send away the last one of the profile that has most waiting, for one of a profile that has fewer.

        Raises:
            UpstreamError: that is this profile itself.
        """
        longest = max(self._queues, key=lambda name: len(self._queues[name]), default=profile)
        if len(self._queues.get(longest, ())) <= len(self._queues.get(profile, ())) + 1:
            raise self._too_many()
        self._give_up(longest, self._queues[longest][-1])

    def _give_up(self, profile: str, waiter: Deferred[None]) -> None:
        self._leave(profile, waiter)
        waiter.errback(self._too_many())

    def _leave(self, profile: str, waiter: Deferred[None]) -> None:
        queue = self._queues[profile]
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[profile]

    def _too_many(self) -> UpstreamError:
        return UpstreamError(self._name, "as much is under way there as may be at once", sent=False)
