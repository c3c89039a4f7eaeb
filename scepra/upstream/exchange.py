"""One request and its answer, in the client's role: HTTP's side of SCEP (RFC 8894, 4.1; HTTP-29).

Nothing is followed, decompressed or repeated. Whatever goes wrong becomes an UpstreamError that says whether the
request can have reached the CA.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.web.http_headers import Headers

from scepra.errors import UpstreamError
from scepra.http.agent import Target
from scepra.http.request import Origin, Reply, Unanswered
from scepra.scep.transport import CONTENT_TYPE_PKI_MESSAGE, OperationKind, encode_query

_GET = Headers()


class Exchange:
    """The way to one SCEP URL.

    Args:
        name: what errors call the upstream.
        url: without a query.
        client: see :func:`scepra.http.agent.http_client`, which is what bounds the time.
        reactor: the client's.
        answer: the largest body that is read, in octets.
        content_type: how a message is labelled that goes by POST.
    """

    def __init__(
        self,
        name: str,
        url: str,
        client: HTTPClient,
        reactor: Any,
        answer: int,
        content_type: str = CONTENT_TYPE_PKI_MESSAGE,
    ) -> None:
        self.name = name
        self._url = url if urlsplit(url).path else f"{url}/"
        self._origin = Origin(client, reactor, answer)
        self._labelled = Headers({b"Content-Type": [content_type.encode("ascii")]})
        self._post = Target(f"{self._url}?{encode_query(OperationKind.PKI_OPERATION)}")

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
        return await self._send("POST", self._post, self._labelled, message)

    async def _send(self, method: str, target: Target, headers: Headers, content: bytes | None) -> Reply:
        try:
            return await self._origin.send(method, target, headers, content)
        except Unanswered as error:
            raise UpstreamError(self.name, error.reason, sent=error.sent) from error
