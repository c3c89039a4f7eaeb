"""One request and its answer. Nothing is followed, decompressed or repeated.

Whatever goes wrong becomes one error, which says whether the request can have reached the other side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import treq
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.web.client import RequestGenerationFailed, RequestTransmissionFailed, ResponseFailed
from twisted.web.http_headers import Headers

from scepra.http.agent import NoCookies, Target
from scepra.http.connection import Ended, NotConnected

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}", re.ASCII)
_PRODUCT = re.compile(r"[\w./-]{1,64}", re.ASCII)
_NO_COOKIES = NoCookies()


class Unanswered(Exception):
    """There is no whole answer.

    Args:
        reason: a lower-case sentence that repeats nothing of what the other side wrote.
        sent: False when certainly no octet of the request left.
    """

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status: its media type (lower case, empty if there is none that can be shown), its body, and its
    Retry-After as it came, empty if it has none; ``server`` is the first product that it says to be, empty if that
    cannot be shown."""

    status: int
    media_type: str
    body: bytes
    retry_after: str = ""
    server: str = ""

    def __str__(self) -> str:
        return f"status {self.status} with {len(self.body)} octets of {self.media_type or 'no media type'}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is asked.

    Attributes:
        client: see :func:`scepra.http.agent.http_client`, which is what bounds the time.
        reactor: the client's.
        answer: the largest body that is read, in octets.
    """

    client: HTTPClient
    reactor: Any
    answer: int

    async def send(self, method: str, target: Target, headers: Headers, content: bytes | None = None) -> Reply:
        """Send a request, once.

        Raises:
            Unanswered: there is no whole answer.
        """
        body = bytearray()

        def collect(data: bytes) -> None:
            body.extend(data)
            if len(body) > self.answer:
                raise Ended(f"an answer of more than {self.answer} octets")

        try:
            response = await self.client.request(
                method,
                target,
                headers=headers,
                data=content,
                cookies=_NO_COOKIES,
                allow_redirects=False,
                unbuffered=True,
                reactor=self.reactor,
            )
            await treq.collect(response, collect)
        except NotConnected as error:
            raise Unanswered(str(error), sent=False) from error
        except Exception as error:
            raise Unanswered(_describe(error), sent=True) from error
        retry_after = _first(response.headers, "retry-after")
        product = _PRODUCT.match(_first(response.headers, "server").strip())
        server = product[0] if product else ""
        return Reply(response.code, _media_type(response.headers), bytes(body), retry_after, server)


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
