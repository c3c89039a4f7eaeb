"""What is under way, and when it has ended."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

H = TypeVar("H", bound=Hashable)


class UnderWay(Generic[H]):
    """Things that begin and end. Ending what is not under way does nothing."""

    __slots__ = ("_things", "_waiting")

    def __init__(self) -> None:
        self._things: set[H] = set()
        self._waiting: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[H]:
        return iter(tuple(self._things))

    def begin(self, thing: H) -> None:
        """It is under way from now on."""
        self._things.add(thing)

    def end(self, thing: H) -> None:
        """It is no more; whoever waits for all to end is told when it was the last."""
        self._things.discard(thing)
        if not self._things and self._waiting:
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter.callback(None)

    def ended(self) -> Deferred[None]:
        """A result as soon as nothing is under way."""
        waiter: Deferred[None] = Deferred()
        if self._things:
            self._waiting.append(waiter)
        else:
            waiter.callback(None)
        return waiter
