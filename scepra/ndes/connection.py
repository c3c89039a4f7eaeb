"""One connection for one draw: NTLM is believed on the connection that it was spoken on, and on no other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web._newclient import HTTP11ClientProtocol

from scepra.http.connection import Connection, Limits, NoPool, NotConnected


class OneConnection(NoPool):
    """Connects once; every request goes over that connection, or not at all.

    Args:
        limits: of everything together, from connecting to the last answer's last octet.
    """

    def __init__(self, reactor: Any, limits: Limits, *, secure: bool) -> None:
        super().__init__(reactor, limits, secure=secure)
        self.persistent = True
        self._connection: Connection | None = None

    async def open(self, endpoint: IStreamClientEndpoint) -> None:
        """Connect.

        Raises:
            NotConnected: it cannot be reached.
        """
        self._connection = await self._connect(endpoint)

    @property
    def certificate(self) -> x509.Certificate | None:
        """By which the other side has shown who it is; None without TLS."""
        peer = getattr(self._connection.transport if self._connection else None, "getPeerCertificate", None)
        found = peer() if peer is not None else None
        return None if found is None else found.to_cryptography()

    async def close(self) -> None:
        """Hang up; it is closed afterwards."""
        if self._connection is not None:
            self._connection.transport.abortConnection()
            await self._connection.closed

    def getConnection(  # noqa: N802 - Twisted's name
        self, key: Hashable, endpoint: IStreamClientEndpoint
    ) -> Deferred[HTTP11ClientProtocol]:
        """The connection, if it is there to be used again.

        Raises:
            NotConnected: it was closed between two requests.
        """
        if self._connection is None or self._connection.state != "QUIESCENT":
            raise NotConnected("the connection was closed before the account was believed")
        return succeed(self._connection)
