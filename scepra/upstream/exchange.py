"""One request and its answer, in the client's role: HTTP's side of SCEP (RFC 8894, 4.1; HTTP-29).

Nothing is followed, decompressed or repeated. Whatever goes wrong becomes an UpstreamError that says whether the
request can have reached the CA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers

from scepra.errors import UpstreamError
from scepra.scep.transport import CONTENT_TYPE_PKI_MESSAGE, OperationKind, encode_query
from scepra.upstream.agent import NoCookies, Target
from scepra.upstream.connection import Ended, NotConnected

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}", re.ASCII)
_POST = Headers({b"Content-Type": [CONTENT_TYPE_PKI_MESSAGE.encode("ascii")]})
_GET = Headers()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status: its media type (lower case, empty if there is none that can be shown), its body, and its
    Retry-After as it came, empty if it has none."""

    status: int
    media_type: str
    body: bytes
    retry_after: str = ""

    def __str__(self) -> str:
        return f"status {self.status} with {len(self.body)} octets of {self.media_type or 'no media type'}"


class Exchange:
    """The way to one SCEP URL.

    Args:
        name: what errors call the upstream.
        url: without a query.
        client: see :func:`scepra.upstream.agent.http_client`, which is what bounds the time.
        reactor: the client's.
        answer: the largest body that is read, in octets.
    """

    def __init__(self, name: str, url: str, client: HTTPClient, reactor: Any, answer: int) -> None:
        self.name = name
        self._url = url if urlsplit(url).path else f"{url}/"
        self._client = client
        self._reactor = reactor
        self._answer = answer
        self._post = Target(f"{self._url}?{encode_query(OperationKind.PKI_OPERATION)}")
        self._no_cookies = NoCookies()

    async def get(self, kind: OperationKind, message: bytes | None = None) -> Reply:
        """Ask by GET; *message* is a PKIOperation's.

        Raises:
            UpstreamError: there is no whole answer.
        """
        return await self._send("GET", Target(f"{self._url}?{encode_query(kind, message)}"), _GET, None)

    async def post(self, message: bytes) -> Reply:
        """Send a PKIOperation by POST.

        Raises:
            UpstreamError: there is no whole answer.
        """
        return await self._send("POST", self._post, _POST, message)

    async def _send(self, method: str, target: Target, headers: Headers, content: bytes | None) -> Reply:
        body = bytearray()

        def collect(data: bytes) -> None:
            body.extend(data)
            if len(body) > self._answer:
                raise Ended(f"an answer of more than {self._answer} octets")

        try:
            response = await self._client.request(
                method,
                target,
                headers=headers,
                data=content,
                cookies=self._no_cookies,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            await treq.collect(response, collect)
        except NotConnected as error:
            raise UpstreamError(self.name, str(error), sent=False) from error
        except Exception as error:
            raise UpstreamError(self.name, _describe(error), sent=True) from error
        retry_after = _first(response.headers, "retry-after")
        return Reply(response.code, _media_type(response.headers), bytes(body), retry_after)


def _media_type(headers: Headers) -> str:
    found = _MEDIA_TYPE.match(_first(headers, "content-type").strip())
    return found[0].lower() if found else ""


def _first(headers: Headers, name: str) -> str:
    return headers.getRawHeaders(name, [""])[0]


def _describe(error: BaseException) -> str:
    """Why there is no answer; never what the other side wrote."""
    while isinstance(error, ResponseFailed | RequestTransmissionFailed | RequestGenerationFailed):
        error = error.reasons[0].value
    match error:
        case Ended():
            return str(error)
        case ConnectionDone():
            return "the connection was closed before the whole answer was there"
        case ConnectionClosed():
            return "the connection was lost before the whole answer was there"
        case CancelledError():
            return "given up"
    return f"the exchange failed ({type(error).__name__})"
