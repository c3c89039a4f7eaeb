"""A server that does with each request whatever a test wants, octet by octet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

Script = Callable[["Conversation"], None]


class Conversation(Protocol):
    """One connection. ``request`` is what came; the script is called once it is whole, or at once if it is "early"."""

    def __init__(self, server: Hostile) -> None:
        self.server = server
        self.request = b""
        self.ended: Deferred[None] = Deferred()
        self._answered = False
        self._next: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.server.conversations.append(self)
        if self.server.early:
            self._answer()

    def dataReceived(self, data: bytes) -> None:
        self.request += data
        head, end, body = self.request.partition(b"\r\n\r\n")
        _, length, rest = head.lower().partition(b"content-length: ")
        if end and not self._answered and (not length or len(body) >= int(rest.split(b"\r\n")[0])):
            self._answer()

    def _answer(self) -> None:
        self._answered = True
        self.server.script(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self.ended.callback(None)

    # What scripts do

    def say(self, *parts: bytes) -> None:
        """Send some octets."""
        self.transport.write(b"".join(parts))

    def close(self) -> None:
        """Send what is to be sent, then FIN."""
        self.transport.loseConnection()

    def reset(self) -> None:
        """Send what is to be sent, then RST."""
        self._next = reactor.callLater(0.02, self.transport.abortConnection)

    def drip(self, octets: bytes, pause: float = 0.02) -> None:
        """Send octets one by one, the last of them for ever, until nobody listens."""
        self.transport.write(octets[:1])
        self._next = reactor.callLater(pause, self.drip, octets[1:] or octets, pause)

    def pour(self, octets: bytes) -> None:
        """Send octets again and again, as fast as they are read, until nobody listens."""
        Pouring(self, octets)


class Pouring:
    """A producer without end."""

    def __init__(self, conversation: Conversation, octets: bytes) -> None:
        self._conversation = conversation
        self._octets = octets
        conversation.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self._conversation.say(self._octets)

    def pauseProducing(self) -> None:
        """Pull producers are not paused."""

    def stopProducing(self) -> None:
        """Nobody listens."""


class Hostile(Factory):
    """The server's side of a port, on which every request meets one script."""

    noisy = False

    def __init__(self, script: Script, early: bool = False) -> None:
        self.script = script
        self.early = early
        self.conversations: list[Conversation] = []

    def buildProtocol(self, addr: IAddress | None) -> Conversation:
        return Conversation(self)

    @property
    def requests(self) -> list[bytes]:
        """What came on each connection."""
        return [conversation.request for conversation in self.conversations]

    def hang_up(self) -> Deferred[Any]:
        """End what is left."""
        for conversation in self.conversations:
            if not conversation.ended.called:
                conversation.transport.abortConnection()
        return gatherResults([conversation.ended for conversation in self.conversations])
