"""A bounded HTTP/1.1 connection (security design rule 13; HTTP-16, HTTP-17, HTTP-19, HTTP-21 to HTTP-23).

:class:`twisted.web.http.HTTPChannel` reads requests; what stands here says how much and how long. A connection is in
one of four phases, each with a deadline, so that it is answered or closed in time (I9). What is refused before the
resource sees it gets a status line and no body; then what the client still sends is read and dropped for a moment,
because closing at once would destroy the answer on its way.
"""

from __future__ import annotations

import enum
import sys
from http import HTTPStatus
from io import BytesIO
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers

from scepra.web.limits import SHORT, Limits

if TYPE_CHECKING:
    from scepra.web.site import BoundedSite

log = Logger()

_LINGER = 2.0  # How long a refused client may go on talking before it is cut off, in seconds.


class Phase(enum.Enum):
    """What a connection waits for."""

    IDLE = "a request"
    RECEIVING = "the rest of a request"
    ANSWERING = "the resource"
    CLOSING = "the client to hang up"


class BoundedRequest(server.Request):
    """A request whose body is bounded, stays in memory and is never parsed as a form (HTTP-19); it has no ``args``."""

    defaultContentType = None  # noqa: N815 - Twisted's name
    channel: BoundedChannel
    content: BytesIO

    def parseCookies(self) -> None:  # noqa: N802 - Twisted's name
        """SCEP has no cookies."""

    def gotLength(self, length: int | None) -> None:
        """Get ready for a body."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take in a part of the body."""
        channel, length = self.channel, self.content.tell() + len(data)
        if length > channel.limits.body:
            channel.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif length > SHORT and not channel.site.hold(channel, length - SHORT):
            self.content = BytesIO()
            channel.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is here: hand it to the resource."""
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.args = {}
        channel = self.channel
        self.site = channel.site
        self.responseHeaders.setRawHeaders(b"Date", (datetimeToString(),))
        try:
            self.render(self.site.resource)
        except Exception as error:
            # Not the exception's text: nobody knows what is in it.
            log.critical("a resource failed with {kind}", kind=type(error).__name__)
            if self.startedWriting:
                channel.drop()
            else:
                channel.refuse(HTTPStatus.INTERNAL_SERVER_ERROR)


class BoundedChannel(http.HTTPChannel):
    """One connection. :class:`~scepra.web.site.BoundedSite` sets its attributes."""

    requestFactory = BoundedRequest
    transport: ITCPTransport
    site: BoundedSite
    limits: Limits
    clock: IReactorTime

    # Counted in lineReceived instead, where the request line and the header lines can be told apart.
    totalHeadersSize = maxHeaders = sys.maxsize  # noqa: N815 - Twisted's names

    phase = Phase.IDLE
    _due = inf
    _alarm: IDelayedCall | None = None
    _served = 0
    _header_octets = 0
    _header_lines = 0
    _body_octets = 0

    def connectionMade(self) -> None:
        """Wait for a request, unless there are too many connections."""
        super().connectionMade()
        if self.site.admit(self):
            self._enter(Phase.IDLE, self.limits.idle)
            self._ring()
        else:
            self.drop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room, and tell the request that is being answered."""
        self.phase = Phase.CLOSING
        self._silence()
        self.site.leave(self)
        super().connectionLost(reason)

    def drop(self) -> None:
        """Cut the connection off, now."""
        self.phase = Phase.CLOSING
        self._silence()
        self.site.leave(self)
        self.transport.abortConnection()

    # Deadlines. The timer of a connection is never set later than any deadline that a request may set meanwhile: so a
    # request costs a look at the clock, not a timer.

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self._due = self.clock.seconds() + seconds
        self.site.note(self)

    def _ring(self) -> None:
        now = self.clock.seconds()
        if now >= self._due:
            self._late()
        else:
            limits = self.limits
            period = min(self._due - now, limits.idle, limits.request_deadline, limits.answer)
            self._alarm = self.clock.callLater(period, self._ring)

    def _silence(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()

    def _late(self) -> None:
        if self.phase is Phase.RECEIVING:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif self.phase is Phase.ANSWERING:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._close(_LINGER)

    # Closing

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with a status alone, and close: what follows on this connection cannot be read as requests."""
        if self.phase is Phase.CLOSING:
            return
        log.info("{peer} was refused with {status}", peer=self.site.peer(self), status=status.value)
        head = b"HTTP/1.1 %d %b\r\nDate: %b\r\nConnection: close\r\nContent-Length: 0\r\n"
        self.transport.write(head % (status, status.phrase.encode("ascii"), datetimeToString()))
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.transport.write(b"Retry-After: %d\r\n" % self.limits.answer)
        self.transport.write(b"\r\n")
        if self.phase is Phase.ANSWERING:
            # Whoever is at work on it must not answer any more.
            self.requests.pop().connectionLost(Failure(ConnectionAborted()))
        self._close(_LINGER)

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802 - Twisted's name
        self.refuse(HTTPStatus.BAD_REQUEST)

    def loseConnection(self) -> None:
        """Close after what has been written."""
        if self.phase is not Phase.CLOSING:
            self._close(self.limits.idle)

    def _close(self, seconds: float) -> None:
        """Close for writing once all is written; then read and drop until the client closes, or for so long."""
        self.clearLineBuffer()
        producer: Any = self._networkProducer
        producer.unregisterProducer()
        producer.resumeProducing()
        if ITCPTransport.providedBy(self.transport) and not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()
        else:
            self.transport.loseConnection()
        self._enter(Phase.CLOSING, seconds)
        self._silence()
        self._alarm = self.clock.callLater(seconds, self.drop)

    def retire(self) -> None:
        """Take no request more: close now, or after the answer to the request under way (FT-45)."""
        if self.phase is not Phase.IDLE:
            # A request of which the first line has not come is told by checkPersistence.
            for request in self.requests:
                self.persistent = False
                request.responseHeaders.setRawHeaders(b"Connection", (b"close",))
        elif self._served:
            self._close(_LINGER)
        else:
            # It is new: its request may be on its way.
            self._enter(Phase.IDLE, _LINGER)
            self._silence()
            self._ring()

    def abandon(self) -> None:
        """Give up the request under way."""
        if self.phase is Phase.IDLE:
            self._close(_LINGER)
        else:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Octets from the client."""
        if self.phase is Phase.CLOSING:
            return
        LineReceiver.dataReceived(self, data)
        if self.phase is Phase.IDLE and (self._buffer or self.requests) and not (self._busyReceiving or self.paused):
            self._enter(Phase.RECEIVING, self.limits.request_deadline)

    def lineReceived(self, line: bytes) -> None:
        """A request line or a header line."""
        limits = self.limits
        if self.requests and line:
            self._header_octets += len(line) + 2
            self._header_lines += 1
            if self._header_octets > limits.headers or self._header_lines > limits.header_lines:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            if line[:1] in (b" ", b"\t"):
                self.refuse(HTTPStatus.BAD_REQUEST)  # Folded lines: a proxy before us may read them otherwise.
                return
            if len(line) > 64 and line[:15].lower() == b"content-length:":
                self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)  # Before int() meets it.
                return
        elif not self.requests:
            self._header_octets = self._header_lines = self._body_octets = 0
            if (
                len(line) > limits.request_target
                and len(line[line.find(b" ") + 1 : line.rfind(b" ")]) > limits.request_target
            ):
                self.refuse(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line without end."""
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if self.requests else HTTPStatus.REQUEST_URI_TOO_LONG)

    def allHeadersReceived(self) -> None:
        """Decide whether to read the body."""
        headers = self.requests[-1].requestHeaders
        codings = headers.getRawHeaders(b"Transfer-Encoding")
        if codings is not None and (len(codings) > 1 or self.length is not None or self._version != b"HTTP/1.1"):
            self.refuse(HTTPStatus.BAD_REQUEST)  # Ways to smuggle a request past a proxy (RFC 9112, 6.1).
        elif headers.hasHeader(b"Content-Encoding"):
            self.refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        elif self.length is not None and self.length > self.limits.body:
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """A part of a body, or of a request that waits for its turn."""
        if self.length is None:
            if self._body_octets > 2 * self.limits.body:
                self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            self._body_octets += len(data)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """A request is complete."""
        if self.phase is not Phase.CLOSING:
            self._served += 1
            self._enter(Phase.ANSWERING, self.limits.answer)
            super().allContentReceived()

    # Answering

    def checkPersistence(self, request: http.Request, version: bytes) -> bool:  # noqa: N802 - Twisted's name
        """Whether the connection outlives the request (HTTP-21)."""
        values = request.requestHeaders.getRawHeaders(b"Connection")
        options = {option.strip() for option in b",".join(values).lower().split(b",")} if values else ()
        persistent = b"close" not in options and self._served + 1 < self.limits.requests_per_connection
        persistent = persistent and not self.site.draining
        if version == b"HTTP/1.0":
            persistent = persistent and b"keep-alive" in options
            if persistent:
                request.responseHeaders.setRawHeaders(b"Connection", (b"keep-alive",))
        elif not persistent:
            request.responseHeaders.setRawHeaders(b"Connection", (b"close",))
        return persistent

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:  # noqa: N802 - the same
        """Write the head of an answer in one piece."""
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        lines.append(b"\r\n")
        self.transport.write(b"".join(lines))

    def requestDone(self, request: http.Request) -> None:
        """An answer is written."""
        if self.persistent:
            self._enter(Phase.IDLE, self.limits.idle)
            if self._waitingForTransport:
                # HTTPChannel would go on. Until the client takes in its answers, it gets no more of them.
                self.paused = True
                self._networkProducer.pauseProducing()
        super().requestDone(request)

    def resumeProducing(self) -> None:
        """The client has taken in what was written."""
        super().resumeProducing()
        if self.paused:
            self.paused = False
            self.dataReceived(b"")
