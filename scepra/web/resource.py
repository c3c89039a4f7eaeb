"""SCEP over HTTP: one resource for all paths, between routes and authorities (HTTP-23 to HTTP-27)."""

from __future__ import annotations

import traceback
from http import HTTPStatus

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.resource import Resource

from scepra.errors import Refused, ScepError, Throttled
from scepra.scep.transport import (
    CONTENT_TYPE_CA_CAPS,
    CONTENT_TYPE_PKI_MESSAGE,
    Operation,
    OperationKind,
    parse_operation,
    read_path,
    split_target,
)
from scepra.web.routes import Authority, Routes
from scepra.web.source import NOBODY, Proxies
from scepra.web.underway import UnderWay

log = Logger()
access = Logger(namespace="scepra.web.access")

_METHODS = {b"GET": "GET", b"HEAD": "HEAD", b"POST": "POST"}
# What a key of the RA's own has to be used for.
_LATER = (OperationKind.PKI_OPERATION, OperationKind.GET_NEXT_CA_CERT)
_LOGGED = 200  # Octets of a path in the access log.


class _Exchange:
    """One request on its way to an answer, and what the access log says of it."""

    __slots__ = ("_gone", "_request", "operation", "path", "profile", "source")

    def __init__(self, request: server.Request, proxies: Proxies) -> None:
        self._request = request
        self._gone = False
        host: str = getattr(request.getClientAddress(), "host", "")
        self.source = proxies.source(host, request.requestHeaders.getRawHeaders(b"X-Forwarded-For", ()))
        self.path = b""
        self.profile = self.operation = "-"

    def hung_up(self, reason: Failure) -> None:
        """Nobody waits for the answer any more."""
        self._gone = True

    def answer(self, content_type: str, body: bytes) -> None:
        """Send what was asked for."""
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"Content-Type", (content_type.encode("ascii"),))
        if content_type == CONTENT_TYPE_PKI_MESSAGE:
            headers.setRawHeaders(b"Cache-Control", (b"no-store",))
            headers.setRawHeaders(b"Pragma", (b"no-cache",))
            # Its audit record says more, and writing an event costs as much as parsing a message.
            self._finish(200, body)
        else:
            headers.setRawHeaders(b"Cache-Control", (b"no-cache",))
            self._log(200, len(body))
            self._finish(200, body)

    def fail(self, error: Exception) -> None:
        """Send the status that an error stands for, and nothing else (HTTP-26)."""
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"Cache-Control", (b"no-store",))
        if isinstance(error, Refused):
            if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
                headers.setRawHeaders(b"Allow", (b"GET, POST, HEAD",))
            if error.retry_after is not None:
                headers.setRawHeaders(b"Retry-After", (b"%d" % error.retry_after,))
            self._fail(error.status, error.reason, quiet=isinstance(error, Throttled) and error.quiet)
        elif isinstance(error, ScepError):
            # A message of which too little could be read for a CertRep.
            self._fail(400, error.reason)
        else:
            # Where, but not the exception's text: nobody knows what it quotes.
            frames = traceback.extract_tb(error.__traceback__)[-5:]
            where = ", ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
            log.critical(
                "{kind} in {operation} of {profile} at {where}",
                kind=type(error).__name__,
                operation=self.operation,
                profile=self.profile,
                where=where,
            )
            self._fail(500)

    def _fail(self, status: int, reason: str = "", *, quiet: bool = False) -> None:
        if not quiet:
            self._log(status, 0, reason)
        self._finish(status, b"")

    def _log(self, status: int, octets: int, reason: str = "") -> None:
        access.info(
            "{source} {path} {profile} {operation} {status} {octets} {reason}",
            source=self.source,
            path=self.path[:_LOGGED].decode("ascii", "backslashreplace"),
            profile=self.profile,
            operation=self.operation,
            status=status,
            octets=octets,
            reason=reason,
        )

    def _finish(self, status: int, body: bytes) -> None:
        if self._gone:
            return
        request = self._request
        request.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
        request.responseHeaders.setRawHeaders(b"Content-Length", (b"%d" % len(body),))
        request.write(body)
        request.finish()


class ScepResource(Resource):
    """Answers every request on the SCEP port.

    A client that hangs up cancels nothing: the operation runs to its end, and only its answer is dropped (FT-21).
    ``operations`` are the operations under way.
    """

    isLeaf = True

    def __init__(self, routes: Routes, proxies: Proxies = NOBODY) -> None:
        """
        Args:
            routes: the authorities.
            proxies: whose ``X-Forwarded-For`` is believed.
        """
        super().__init__()
        self.operations: UnderWay[_Exchange] = UnderWay()
        self.serve(routes, proxies)

    def serve(self, routes: Routes, proxies: Proxies) -> None:
        """Lead requests to other authorities from now on; what is under way ends with those that it has begun with."""
        self._routes = routes
        self._proxies = proxies

    def render(self, request: server.Request) -> int:
        """Answer, now or later."""
        exchange = _Exchange(request, self._proxies)
        try:
            authority, operation = self._read(request, exchange)
            if operation.kind in _LATER:
                request.notifyFinish().addErrback(exchange.hung_up)
                Deferred.fromCoroutine(self._operate(authority, operation, exchange))
            else:
                exchange.answer(*_public(authority, operation.kind))
        except Exception as error:
            exchange.fail(error)
        return server.NOT_DONE_YET

    def _read(self, request: server.Request, exchange: _Exchange) -> tuple[Authority, Operation]:
        """The request's authority and operation, checked from the cheap to the costly."""
        method = _METHODS.get(request.method)
        if method is None:
            raise Refused("a method that SCEP does not use", 405)
        path, query = split_target(request.uri)
        exchange.path = path
        segments = read_path(path)
        authority = self._routes.resolve(segments)
        if authority is None:
            raise Refused("no profile has this path", 404)
        exchange.profile = authority.name
        operation = parse_operation(method, query, request.content.read() if request.content else b"")
        exchange.operation = operation.kind.value
        if operation.ca_identifier is not None:
            authority = self._routes.resolve(segments, operation.ca_identifier) or authority
            exchange.profile = authority.name
        return authority, operation

    async def _operate(self, authority: Authority, operation: Operation, exchange: _Exchange) -> None:
        self.operations.begin(exchange)
        try:
            if operation.kind is OperationKind.GET_NEXT_CA_CERT:
                content_type, reply = await authority.next_ca_cert()
            else:
                content_type = CONTENT_TYPE_PKI_MESSAGE
                reply = await authority.pki_operation(operation.message, exchange.source)
        except Exception as error:
            exchange.fail(error)
        else:
            # Every CertRep is a 200, whatever it says (HTTP-25), and none may be kept by a cache (HTTP-27).
            exchange.answer(content_type, reply)
        finally:
            self.operations.end(exchange)


def _public(authority: Authority, kind: OperationKind) -> tuple[str, bytes]:
    """Content type and body of what anyone may ask for, and what is at hand."""
    if kind is OperationKind.GET_CA_CAPS:
        return CONTENT_TYPE_CA_CAPS, authority.ca_caps()
    if kind is OperationKind.GET_CA_CERT:
        return authority.ca_cert()
    return authority.ca_cert_chain()
