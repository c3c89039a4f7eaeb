"""Where connections lead: to one origin, over TLS if its URL says so (AC-113, AC-116, FT-02, FT-19)."""

from __future__ import annotations

from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

REMEMBERED = 60.0  # How long the addresses of a name serve, in seconds.


@implementer(IResolutionReceiver)
class Lookup:
    """One look-up of a name. ``done`` fires with the addresses for all who wait."""

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.finished = False
        self._waiting: list[Deferred[list[Any]]] = []

    def wait(self) -> Deferred[list[Any]]:
        """The addresses, when they are known; whoever gives up ends nothing but its own waiting."""
        if self.finished:
            return succeed(self.addresses)
        waiter: Deferred[list[Any]] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803 - Twisted's names
        """It begins."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802 - Twisted's name
        """One address is known."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802 - Twisted's name
        """All are known."""
        self.finished = True
        for waiter in self._waiting:
            waiter.callback(self.addresses)


@implementer(IStreamClientEndpoint)
class Named:
    """A host by its name: connected to where it worked last, else at its other addresses in turn.

    There is one look-up at a time, and nobody's impatience ends it: a slow resolver holds one thread, however many wait
    (FT-02). Twisted's HostnameEndpoint takes a thread for each connection, and more time than the rest of an exchange.
    """

    def __init__(self, reactor: Any, host: str, port: int, patience: float) -> None:
        self._reactor = reactor
        self._host, self._port = host, port
        self._patience = patience
        self._lookup: Lookup | None = None
        self._until = 0.0
        self._worked: IAddress | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        """The connection."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        addresses = await self._addresses()
        problem: ConnectError | None = None
        for address in sorted(addresses, key=lambda address: address != self._worked):
            kind = TCP6ClientEndpoint if isinstance(address, IPv6Address) else TCP4ClientEndpoint
            endpoint = kind(self._reactor, address.host, self._port, self._patience / len(addresses))
            try:
                connection = await endpoint.connect(factory)
            except ConnectError as error:
                problem = error
            else:
                self._worked = address
                return connection
        self._lookup = None
        raise problem or DNSLookupError(self._host)

    def _addresses(self) -> Deferred[list[Any]]:
        lookup, now = self._lookup, self._reactor.seconds()
        if lookup is None or (lookup.finished and now >= self._until):
            self._lookup = lookup = Lookup()
            self._until = now + REMEMBERED
            self._reactor.nameResolver.resolveHostName(lookup, self._host, self._port)
        return lookup.wait()


@implementer(IStreamClientEndpoint)
class Secured:
    """A TLS endpoint that is connected when the handshake is done, not when TCP is: nothing is sent before."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        """The connection, secured."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        connection: Any = await self._endpoint.connect(factory)
        try:
            await connection.secured
        except BaseException:
            connection.transport.abortConnection()
            raise
        return connection  # type: ignore[no-any-return]  # connect() is untyped


@implementer(IAgentEndpointFactory)
class OneOrigin:
    """Leads to one origin and to no other, whatever is asked for."""

    def __init__(
        self, reactor: Any, origin: URI, policy: IPolicyForHTTPS, patience: float, socket: str | None = None
    ) -> None:
        """
        Args:
            origin: its scheme, host and port.
            policy: whom TLS believes.
            patience: how long connecting may take, in seconds.
            socket: the path of a Unix socket that takes the place of host and port.
        """
        self._origin = (origin.scheme, origin.host, origin.port)
        host = origin.host.decode("ascii")
        endpoint: IStreamClientEndpoint
        if socket is not None:
            endpoint = UNIXClientEndpoint(reactor, socket, patience)
        elif isIPAddress(host):
            endpoint = TCP4ClientEndpoint(reactor, host, origin.port, patience)
        elif isIPv6Address(host):
            endpoint = TCP6ClientEndpoint(reactor, host, origin.port, patience)
        else:
            endpoint = Named(reactor, host, origin.port, patience)
        if origin.scheme == b"https":
            endpoint = Secured(wrapClientTLS(policy.creatorForNetloc(origin.host, origin.port), endpoint))
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - Twisted's name
        """The endpoint, made once."""
        if (uri.scheme, uri.host, uri.port) != self._origin:
            raise SchemeNotSupported("another origin than the configured one")
        return self._endpoint
