"""The lab's CA on a port."""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.web.resource import IResource

from scepra.web.limits import Limits
from scepra.web.site import BoundedSite


async def listen(reactor: IReactorTime, endpoint: str, resource: IResource) -> IListeningPort:
    """Serve on a Twisted endpoint such as ``tcp:8089:interface=127.0.0.1``.

    Raises:
        ValueError: it is no endpoint.
        twisted.internet.error.CannotListenError: somebody else does.
    """
    site = BoundedSite(resource, Limits(), reactor)
    port: IListeningPort = await serverFromString(reactor, endpoint).listen(site)
    return port


def url_of(port: IListeningPort) -> str:
    """Where clients reach what listens on a TCP port; on all interfaces, those of this machine."""
    address = cast("IPv4Address | IPv6Address", port.getHost())
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host) or address.host  # noqa: S104 - only compared
    return f"http://{f'[{host}]' if ':' in host else host}:{address.port}/scep"
