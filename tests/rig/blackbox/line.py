"""The upstream's connections: what comes in is noted, and held back where somebody stops it."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.server import Site

from tests.rig.blackbox.event import Event, Posts
from tests.rig.blackbox.journal import Journal


class Line(ProtocolWrapper):
    """One connection: counts and holds back what comes in. When its client is gone, what came is still handed on."""

    def __init__(self, factory: Lines, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self.number = next(factory.numbers)
        self._buffer = b""
        self._passed = 0
        self._begun = self._held = False
        self._lost: Failure | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self._reach(Event.ACCEPTED)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._feed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = reason
        self.factory.journal.note(event="closed", connection=self.number)
        self._feed()

    def _feed(self) -> None:
        while self._buffer and not self._held:
            if not self._begun:
                self._begun = True
                self._reach(Event.FIRST_BYTE)
                continue
            enough = self.factory.posts.octets()
            half = enough is not None and self._passed < enough <= self._passed + len(self._buffer)
            piece = self._buffer[: enough - self._passed] if half else self._buffer
            self._buffer = self._buffer[len(piece) :]
            self._passed += len(piece)
            super().dataReceived(piece)
            if half:
                self._reach(Event.HALF_REQUEST)
        if self._lost is not None and not self._held:
            super().connectionLost(self._lost)

    def _reach(self, event: Event) -> None:
        self.factory.journal.note(event=event.value, connection=self.number)
        stopped = self.factory.posts.reach(event, {"connection": self.number})
        if stopped is not None:
            self._held = True
            stopped.addCallback(self._go_on)

    def _go_on(self, whole: bool) -> None:
        self._held = False
        if not whole:
            self._buffer = b""
            self.abortConnection()
        self._feed()


class Lines(WrappingFactory):
    """Makes them."""

    noisy = False

    def __init__(self, site: Site, posts: Posts, journal: Journal, before: int) -> None:
        """
        Args:
            site: speaks HTTP.
            posts: who stops connections.
            journal: where they are noted.
            before: how many there have been.
        """
        super().__init__(site)
        self.posts = posts
        self.journal = journal
        self.numbers = itertools.count(before + 1)

    def buildProtocol(self, addr: IAddress) -> Line:
        return Line(self, self.wrappedFactory.buildProtocol(addr))
