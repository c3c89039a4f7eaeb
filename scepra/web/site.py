"""How many connections there are, from whom, and which of them has to go (AC-007, AC-013)."""

from __future__ import annotations

import resource
from collections import Counter

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web import http, server
from twisted.web.resource import IResource

from scepra.address import neighbourhood
from scepra.web.channel import BoundedChannel, BoundedRequest, Phase
from scepra.web.limits import Limits
from scepra.web.source import NOBODY, Proxies
from scepra.web.underway import UnderWay

log = Logger()


class BoundedSite(server.Site):
    """The factory of :class:`~scepra.web.channel.BoundedChannel`. One may serve several ports, and counts over all.

    When there is no room for a new connection, the one that has kept us waiting longest is cut off: so a client that
    says what it wants is served even while others hold connections open in silence.

    ``connected`` are all connections, ``busy`` those that are not being closed; ``draining`` ones take no request more.
    """

    protocol = BoundedChannel  # type: ignore[assignment]  # No other: HTTP/2 has its own floods (AC-013).
    requestFactory = BoundedRequest
    draining = False

    def __init__(self, leaf: IResource, limits: Limits, reactor: IReactorTime, proxies: Proxies = NOBODY) -> None:
        """
        Args:
            leaf: renders every request, whatever its path.
            limits: what bounds a client.
            reactor: the clock of all deadlines.
            proxies: their addresses may have any number of connections.
        """
        super().__init__(leaf, reactor=reactor, timeout=None, parsePOSTFormSubmission=False)
        self.bound(limits, proxies)
        # Dictionaries for their order: the first waits longest.
        self._neighbourhoods: dict[BoundedChannel, str] = {}
        self._waiting: dict[BoundedChannel, None] = {}
        self._counts: Counter[str] = Counter()
        self._held: dict[BoundedChannel, int] = {}
        self._held_together = 0
        self.connected: UnderWay[BoundedChannel] = UnderWay()
        self.busy: UnderWay[BoundedChannel] = UnderWay()

    def bound(self, limits: Limits, proxies: Proxies) -> None:
        """Go by other limits from now on; a connection keeps those about its requests that it has begun with."""
        self.limits = limits
        self.proxies = proxies
        self.connections = limits.connections_with(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        if self.connections < limits.connections:
            log.warn("{count} connections at most: the process may not open more files", count=self.connections)

    def acceptableProtocols(self) -> list[bytes]:  # noqa: N802 - Twisted's name
        """What TLS negotiates."""
        return [b"http/1.1"]

    def startFactory(self) -> None:  # noqa: N802 - Twisted's name
        """There is no log file to open: Twisted's would hold queries, which hold messages (SEC-17)."""

    def stopFactory(self) -> None:  # noqa: N802 - Twisted's name
        """There is none to close."""

    def log(self, request: http.Request) -> None:
        """The resource knows better what to say."""

    def buildProtocol(self, addr: IAddress | None) -> BoundedChannel:  # type: ignore[override]  # narrower
        """A channel for a new connection, which will ask to be admitted."""
        channel: BoundedChannel = super().buildProtocol(addr)
        channel.limits = self.limits
        channel.clock = self.reactor
        channel.MAX_LENGTH = self.limits.request_target + 64
        return channel

    def peer(self, channel: BoundedChannel) -> str:
        """The address at the other end, empty for a UNIX socket."""
        host: str = getattr(channel.transport.getPeer(), "host", "")
        return host

    def admit(self, channel: BoundedChannel) -> bool:
        """Count a new connection.

        Returns:
            False when it is one too many.
        """
        host = self.peer(channel)
        where = neighbourhood(host)
        if self._counts[where] >= self.limits.connections_per_address and host and host not in self.proxies:
            return False
        if len(self._neighbourhoods) >= self.connections:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            longest.drop()
        self._neighbourhoods[channel] = where
        self._counts[where] += 1
        self.connected.begin(channel)
        self.busy.begin(channel)
        return True

    def hold(self, channel: BoundedChannel, octets: int) -> bool:
        """Count so many octets of a connection's body, instead of those before.

        Returns:
            False when they are too many for the memory: they are not counted then (FT-53).
        """
        together = self._held_together - self._held.get(channel, 0) + octets
        if together > max(self.limits.bodies, octets):
            return False
        self._held[channel] = octets
        self._held_together = together
        return True

    def _let_go(self, channel: BoundedChannel) -> None:
        if self._held:
            self._held_together -= self._held.pop(channel, 0)

    def note(self, channel: BoundedChannel) -> None:
        """A connection has entered another phase."""
        if channel.phase in (Phase.IDLE, Phase.CLOSING):
            self._let_go(channel)
        self._waiting.pop(channel, None)
        if channel.phase is not Phase.ANSWERING:
            self._waiting[channel] = None
        if channel.phase is Phase.CLOSING:
            self.busy.end(channel)

    def leave(self, channel: BoundedChannel) -> None:
        """A connection is gone, or as good as gone."""
        where = self._neighbourhoods.pop(channel, None)
        if where is not None:
            self._waiting.pop(channel, None)
            self._let_go(channel)
            self._counts[where] -= 1
            if not self._counts[where]:
                del self._counts[where]
            self.busy.end(channel)
            self.connected.end(channel)

    def drain(self) -> None:
        """Close every connection: at once if it is idle, else after the answer to what has been asked (FT-45)."""
        self.draining = True
        for channel in self.busy:
            channel.retire()

    def abandon(self) -> None:
        """Tell whoever still waits for an answer to come back, and close."""
        for channel in self.busy:
            channel.abandon()
