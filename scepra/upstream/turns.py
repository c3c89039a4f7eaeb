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

    def full(self, profile: str) -> bool:
        """Whether whoever of a profile asks now is sent away at once."""
        return self.busy and self._waiting >= self._most and self._crowding(profile) is None

    async def take(self, profile: str) -> None:
        """Have a turn: those of one profile in the order in which they come, of the profiles one after the other.

        Raises:
            UpstreamError: not sent; too many wait already, or it did not come in time.
        """
        if not self.busy:
            self._taken += 1
            return
        if self._waiting >= self._most:
            crowding = self._crowding(profile)
            if crowding is None:
                raise self.too_many()
            # The last one of those gives its place to the first of these.
            self._give_up(crowding, self._queues[crowding][-1])
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

    def _crowding(self, profile: str) -> str | None:
        """The profile that has most waiting, if it has more than this one would have."""
        longest = max(self._queues, key=lambda name: len(self._queues[name]))
        return longest if len(self._queues[longest]) > len(self._queues.get(profile, ())) + 1 else None

    def _give_up(self, profile: str, waiter: Deferred[None]) -> None:
        self._leave(profile, waiter)
        waiter.errback(self.too_many())

    def _leave(self, profile: str, waiter: Deferred[None]) -> None:
        queue = self._queues[profile]
        queue.remove(waiter)
        self._waiting -= 1
        if not queue:
            del self._queues[profile]

    def too_many(self) -> UpstreamError:
        """What whoever is sent away is told."""
        return UpstreamError(self._name, "as much is under way there as may be at once", sent=False)
