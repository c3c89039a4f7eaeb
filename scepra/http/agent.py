"""treq's client for one origin: nothing followed, decompressed, remembered or sent in chunks (AC-113, HTTP-29).

treq offers gzip, keeps cookies, normalises each URL and reads each body through a cooperative task. What stands here
takes that off it; with :mod:`~scepra.http.endpoint` an exchange then takes less than half the time.
"""

from __future__ import annotations

from http.client import HTTPResponse
from typing import Any
from urllib.request import Request

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from scepra.http.connection import Limits, NoPool
from scepra.http.endpoint import OneOrigin


class Target(EncodedURL):
    """A URL as it goes on the wire, neither parsed nor normalised."""

    def __init__(self, text: str) -> None:
        self._wire = text

    def to_uri(self) -> EncodedURL:
        """What treq asks for first."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """What treq asks for then."""
        return self._wire


class NoCookies(IndexableCookieJar):
    """Stays empty, without looking."""

    def add_cookie_header(self, request: Request) -> None:
        """Send none."""

    def extract_cookies(self, response: HTTPResponse, request: Request) -> None:
        """Keep none."""


@implementer(IAgent)
class Undecoded:
    """Takes back that treq offers to decompress, and leaves it nothing to decompress."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request."""
        if headers is not None:
            headers.removeHeader(b"Accept-Encoding")
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_as_it_came)


def _as_it_came(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response


@implementer(IBodyProducer)
class Octets:
    """A request's body, written at once; its length is known, so that it is never sent in chunks (HTTP-29)."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length = len(content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # noqa: N802 - Twisted's name
        """Write it."""
        consumer.write(self._content)
        return succeed(None)

    def pauseProducing(self) -> None:
        """There is nothing to pause."""

    def resumeProducing(self) -> None:
        """There is nothing to resume."""

    def stopProducing(self) -> None:
        """There is nothing to stop."""


def http_client(
    reactor: Any, url: str, limits: Limits, policy: IPolicyForHTTPS | None = None, *, socket: str | None = None
) -> HTTPClient:
    """treq's client for one origin.

    Args:
        reactor: connects and waits.
        url: only its scheme, host and port matter.
        limits: of each exchange.
        policy: whom TLS believes; whom the system believes, if it is not given.
        socket: the path of a Unix socket that takes the place of host and port.
    """
    uri = URI.fromBytes(url.encode("ascii"))
    origin = OneOrigin(reactor, uri, policy or BrowserLikePolicyForHTTPS(), limits.connect, socket)
    pool = NoPool(reactor, limits, secure=uri.scheme == b"https")
    return HTTPClient(Undecoded(Agent.usingEndpointFactory(reactor, origin, pool)), NoCookies(), Octets)
