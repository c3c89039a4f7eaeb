"""Connections to an origin: one for each request, bounded in octets and in time (AC-113, FT-05, FT-14).

The bounds belong to the connection, so that nothing above it can outlive them: neither treq, nor who waits for it.
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, ConnectError, DNSLookupError, TimeoutError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

# twisted.web.client gives away no other way to stand between a connection and HTTP without a second protocol.
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.client import HTTPConnectionPool
from twisted.web.iweb import IResponse
from zope.interface import implementer


@dataclass(frozen=True, slots=True)
class Limits:
    """What one exchange may take.

    ``connect`` is for the name, the connection and TLS, ``total`` for everything from the start to the answer's last
    octet, both in seconds; ``head`` is for the octets that precede the answer's body.
    """

    connect: float = 5.0
    total: float = 20.0
    head: int = 64 * 1024


class NotConnected(Exception):
    """No connection, so that certainly no octet of the request left. Its text says why."""


class Ended(Exception):
    """We have ended the exchange. Its text says why."""


class Connection(HTTP11ClientProtocol):
    """A connection for one request, or for several in turn. ``closed`` fires when it is gone.

    Args:
        head: how many octets may precede the body of each answer.
    """

    transport: ITCPTransport

    def __init__(self, head: int) -> None:
        super().__init__()
        self.deadline: IDelayedCall | None = None
        self.closed: Deferred[None] = Deferred()
        self._longest_head = head
        self._head: int | None = head
        self._ended: Ended | None = None

    def request(self, request: Request) -> Deferred[IResponse]:
        """Send a request; the result is the answer without its body."""
        self._head = self._longest_head
        return super().request(request).addCallback(self._headed)

    def _headed(self, response: IResponse) -> IResponse:
        self._head = None
        return response

    def dataReceived(self, data: bytes) -> None:
        """Read on, within bounds. The body is its reader's to bound."""
        if self._head is not None:
            self._head -= len(data)
            if self._head < 0:
                self.end("too many octets before the answer's body")
                return
        super().dataReceived(data)

    def end(self, reason: str) -> None:
        """Cut the connection, whatever is still to be sent or read."""
        self._ended = Ended(reason)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits."""
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        super().connectionLost(reason if self._ended is None else Failure(self._ended))
        self.closed.callback(None)


@implementer(IHandshakeListener)
class SecureConnection(Connection):
    """A connection over TLS. ``secured`` fires when the peer has shown who it is."""

    def __init__(self, head: int) -> None:
        super().__init__(head)
        self.secured: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:  # noqa: N802 - Twisted's name
        """TLS is up."""
        self.secured.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever waits."""
        super().connectionLost(reason)
        if not self.secured.called:
            self.secured.errback(reason)


class Connecting(Factory):
    """Makes the connection of one request."""

    noisy = False

    def __init__(self, head: int, *, secure: bool) -> None:
        self._head = head
        self._kind = SecureConnection if secure else Connection

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """The connection."""
        return self._kind(self._head)


class NoPool(HTTPConnectionPool):
    """A connection for every request: nothing is kept, and nothing is sent again of itself (FT-14)."""

    def __init__(self, reactor: Any, limits: Limits, *, secure: bool) -> None:
        super().__init__(reactor, persistent=False)
        self._limits = limits
        self._connecting = Connecting(limits.head, secure=secure)

    def getConnection(  # noqa: N802 - Twisted's name
        self, key: Hashable, endpoint: IStreamClientEndpoint
    ) -> Deferred[HTTP11ClientProtocol]:
        """A new connection, its deadline set.

        Raises:
            NotConnected: there is none.
        """
        return Deferred.fromCoroutine(self._connect(endpoint))

    async def _connect(self, endpoint: IStreamClientEndpoint) -> Connection:
        reactor, limits = self._reactor, self._limits
        expires = reactor.seconds() + limits.total
        attempt = endpoint.connect(self._connecting)
        patience = reactor.callLater(min(limits.connect, limits.total), attempt.cancel)
        try:
            connection: Connection = await attempt  # type: ignore[assignment]  # Connecting makes no other
        except Exception as error:
            late = isinstance(error, TimeoutError) or not patience.active()
            raise NotConnected(f"no connection within {limits.connect:g} s" if late else _describe(error)) from error
        finally:
            with suppress(AlreadyCalled):
                patience.cancel()
        left = max(expires - reactor.seconds(), 0)
        if left < limits.total - limits.connect:
            # This process was held up meanwhile, and others may have done its work (FT-43).
            connection.end("too late")
            raise NotConnected(f"connected only after {limits.total - left:.0f} s")
        connection.deadline = reactor.callLater(left, connection.end, f"no whole answer within {limits.total:g} s")
        return connection


def _describe(error: Exception) -> str:
    # Imported here, since plain HTTP needs neither.
    from OpenSSL.SSL import Error as TLSError
    from service_identity import VerificationError

    match error:
        case DNSLookupError():
            return "its host name is unknown"
        case VerificationError():
            return "no TLS: its certificate is for another name"
        case TLSError(args=([*_, (_, _, reason)],)):
            return f"no TLS: {reason}"
        case ConnectError():
            return f"no connection: {str(type(error).__doc__).rstrip('.')}"
    return f"no connection: {type(error).__name__}"
