"""One request to a server that means no good: what is sent, what is read, and what is made of it."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from scepra.errors import UpstreamError
from scepra.http.agent import http_client
from scepra.http.connection import Limits
from scepra.http.request import Reply
from scepra.scep.transport import OperationKind, parse_operation, split_target
from scepra.upstream.exchange import Exchange

from .hostile import Conversation, Hostile, Script

MESSAGE = bytes(range(256)) * 10
ANSWER = 64 * 1024
# Only who waits for a deadline has a short one: the machine may be busy.
PATIENT, HASTY = Limits(connect=60.0, total=60.0), Limits(connect=1.0, total=1.0)
OK = b"HTTP/1.1 200 OK\r\n"
TYPED = OK + b"Content-Type: application/x-pki-message\r\n"
CHUNKED = TYPED + b"Transfer-Encoding: chunked\r\n\r\n"
LATE = "no whole answer within 1 s"
CLOSED = "the connection was closed before the whole answer was there"
LOST = "the connection was lost before the whole answer was there"


def saying(*parts: bytes, end: Callable[[Conversation], None] = Conversation.close) -> Script:
    """A script that sends some octets and ends."""

    def script(conversation: Conversation) -> None:
        conversation.say(*parts)
        end(conversation)

    return script


def waiting(conversation: Conversation) -> None:
    """Do nothing more."""


class ExchangeCase(TestCase):
    """A hostile server, and exchanges with it."""

    timeout = 60
    limits = PATIENT
    server: Hostile

    def serve(self, script: Script, early: bool = False) -> Exchange:
        """Begin to listen; the exchange leads there."""
        self.server = Hostile(script, early)
        port = reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.server.hang_up)
        return self.exchange(port.getHost().port)

    def exchange(self, port: int) -> Exchange:
        url = f"http://127.0.0.1:{port}/scep/pkiclient.exe"
        return Exchange("ca", url, http_client(reactor, url, self.limits), reactor, ANSWER)

    async def error(self, script: Script, *, early: bool = False) -> str:
        """Why a message that is posted has no answer. It can have reached the CA."""
        exchange = self.serve(script, early)
        error = await self.failure_of(exchange.post(MESSAGE))
        assert error.sent
        assert error.upstream == "ca"
        return error.reason

    async def failure_of(self, exchange: Any) -> UpstreamError:
        try:
            reply = await exchange
        except UpstreamError as error:
            return error
        raise AssertionError(f"there was an answer: {reply!r}")


class SentTests(ExchangeCase):
    """What goes out."""

    @pytest.mark.proves("HTTP-29", "HTTP-01", "DR-13", "AC-113")
    async def test_post(self) -> None:
        """A POST has Host and Content-Length, is not chunked, asks for no compression and no second request."""
        exchange = self.serve(saying(TYPED, b"Content-Length: 2\r\n\r\nhi"))
        assert await exchange.post(MESSAGE) == Reply(200, "application/x-pki-message", b"hi")
        [request] = self.server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        first, *fields = head.split(b"\r\n")
        assert first == b"POST /scep/pkiclient.exe?operation=PKIOperation HTTP/1.1"
        assert body == MESSAGE
        port = exchange._url.split(":")[2].partition("/")[0].encode()
        assert sorted(field.lower() for field in fields) == [
            b"connection: close",
            b"content-length: 2560",
            b"content-type: application/x-pki-message",
            b"host: 127.0.0.1:" + port,
        ]

    @pytest.mark.proves("HTTP-29", "HTTP-02")
    async def test_get(self) -> None:
        """A GET carries the message in the query, escaped so that a server reads the same octets, and has no body."""
        exchange = self.serve(saying(TYPED, b"Content-Length: 2\r\n\r\nhi"))
        await exchange.get(OperationKind.PKI_OPERATION, MESSAGE)
        await exchange.get(OperationKind.GET_CA_CERT)
        first, second = self.server.requests
        method, target, _ = first.split(b" ", 2)
        operation = parse_operation(method.decode(), split_target(target)[1], b"")
        assert (operation.kind, operation.message) == (OperationKind.PKI_OPERATION, MESSAGE)
        assert second.startswith(b"GET /scep/pkiclient.exe?operation=GetCACert HTTP/1.1\r\n")
        assert b"content-length" not in (first + second).lower()
        assert b"transfer-encoding" not in (first + second).lower()

    async def test_url_without_a_path(self) -> None:
        """A URL that is a host alone means its root."""
        script = saying(OK, b"Content-Length: 0\r\n\r\n")
        port = self.serve(script)._url.split(":")[2].partition("/")[0]
        url = f"http://127.0.0.1:{port}"
        await Exchange("ca", url, http_client(reactor, url, PATIENT), reactor, ANSWER).get(OperationKind.GET_CA_CAPS)
        assert self.server.requests[0].startswith(b"GET /?operation=GetCACaps HTTP/1.1\r\n")

    @pytest.mark.proves("AC-113")
    async def test_cookies_are_not_kept(self) -> None:
        """A cookie that is set does not come back."""
        exchange = self.serve(saying(OK, b"Set-Cookie: a=b; Path=/\r\nContent-Length: 2\r\n\r\nhi"))
        await exchange.post(MESSAGE)
        await exchange.post(MESSAGE)
        assert len(self.server.requests) == 2
        assert b"cookie" not in b"".join(self.server.requests).lower()

    @pytest.mark.proves("FT-14", "DR-13")
    async def test_nothing_is_sent_twice(self) -> None:
        """Each request has a connection of its own, and one that gets no answer is not sent again, GET or POST."""
        exchange = self.serve(saying(OK, b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", end=waiting))
        await exchange.get(OperationKind.PKI_OPERATION, MESSAGE)
        self.server.script = Conversation.close
        for request in (exchange.get(OperationKind.PKI_OPERATION, MESSAGE), exchange.post(MESSAGE)):
            error = await self.failure_of(request)
            assert error.sent
            assert error.reason == CLOSED
        self.server.script = Conversation.reset
        assert (await self.failure_of(exchange.get(OperationKind.PKI_OPERATION, MESSAGE))).sent
        assert len(self.server.requests) == 4
        assert all(request.count(b"HTTP/1.1") == 1 for request in self.server.requests)


class AnswerTests(ExchangeCase):
    """What is read."""

    @pytest.mark.proves("AC-113", "FT-09")
    async def test_redirects_are_not_followed(self) -> None:
        """A redirect is an answer like any other, and nobody calls where it leads."""
        canary = Hostile(saying(OK, b"Content-Length: 0\r\n\r\n"))
        port = reactor.listenTCP(0, canary, interface="127.0.0.9")
        self.addCleanup(port.stopListening)
        for status in (b"301", b"302", b"303", b"307", b"308"):
            place = b"Location: http://127.0.0.9:%d/scep\r\n" % port.getHost().port
            exchange = self.serve(saying(b"HTTP/1.1 ", status, b" Moved\r\n", place, b"Content-Length: 2\r\n\r\nhi"))
            assert (await exchange.post(MESSAGE)).status == int(status)
            assert (await exchange.get(OperationKind.GET_CA_CERT)).status == int(status)
        assert canary.conversations == []

    @pytest.mark.proves("AC-113")
    async def test_nothing_is_decompressed(self) -> None:
        """A compressed answer is what it is on the wire, so that a small one cannot become a large one."""
        bomb = gzip.compress(bytes(10 * 1024 * 1024))
        exchange = self.serve(saying(TYPED, b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb), bomb))
        assert (await exchange.post(MESSAGE)).body == bomb

    @pytest.mark.proves("FT-10", "CAPS-09")
    async def test_media_types(self) -> None:
        """The media type is told for the log alone: in lower case, and only if it looks like one."""
        for label, shown in (
            (b"Content-Type: Text/HTML; charset=utf-8\r\n", "text/html"),
            (b"Content-Type: \x1b[31mred\r\n", ""),
            (b"", ""),
        ):
            reply = await self.serve(saying(OK, label, b"Content-Length: 2\r\n\r\nhi")).post(MESSAGE)
            assert reply.media_type == shown
        assert str(reply) == "status 200 with 2 octets of no media type"

    async def test_good_answers_in_unusual_forms(self) -> None:
        """Chunks, an answer that ends with the connection, HTTP/1.0, a first 100 Continue: all are read whole."""
        for parts in (
            (CHUNKED, b"1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n"),
            (TYPED, b"\r\nhi"),
            (b"HTTP/1.0 200 OK\r\n\r\nhi",),
            (b"HTTP/1.1 100 Continue\r\n\r\n", TYPED, b"Content-Length: 2\r\n\r\nhi"),
            (b"HTTP/1.1 200\nContent-Length: 2\n\nhi",),
        ):
            assert (await self.serve(saying(*parts)).post(MESSAGE)).body == b"hi"

    @pytest.mark.proves("FT-11")
    async def test_empty_answer(self) -> None:
        """No content is an answer of no octets."""
        for parts in ((OK, b"Content-Length: 0\r\n\r\n"), (OK, b"\r\n"), (b"HTTP/1.1 204 No Content\r\n\r\n",)):
            assert (await self.serve(saying(*parts)).post(MESSAGE)).body == b""

    async def test_largest_answer(self) -> None:
        """An answer of exactly the permitted size is read."""
        exchange = self.serve(saying(OK, b"Content-Length: %d\r\n\r\n" % ANSWER, bytes(ANSWER)))
        assert len((await exchange.post(MESSAGE)).body) == ANSWER


class HostileTests(ExchangeCase):
    """What is not read."""

    @pytest.mark.proves("AC-113")
    async def test_head_without_bounds(self) -> None:
        """100 000 header fields, or thousands of 100 Continue, end the exchange after 64 KiB."""
        fields = b"".join(b"X-%d: y\r\n" % number for number in range(100_000))
        assert await self.error(saying(OK, fields, b"\r\n")) == "too many octets before the answer's body"
        again = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await self.error(saying(again * 6000, OK, b"\r\n")) == "too many octets before the answer's body"

    @pytest.mark.proves("AC-113")
    async def test_line_without_end(self) -> None:
        """One header line of megabytes ends the exchange."""
        assert "the whole answer" in await self.error(lambda it: it.pour(b"x" * 60_000))

    @pytest.mark.proves("AC-113")
    async def test_body_without_end(self) -> None:
        """A body that is larger than permitted is read no further, declared, chunked or neither."""
        bound = f"an answer of more than {ANSWER} octets"

        def pouring(head: bytes, octets: bytes) -> Script:
            def script(conversation: Conversation) -> None:
                conversation.say(head)
                conversation.pour(octets)

            return script

        assert await self.error(pouring(TYPED + b"Content-Length: 10737418240\r\n\r\n", bytes(50_000))) == bound
        assert await self.error(pouring(TYPED + b"\r\n", bytes(50_000))) == bound
        assert await self.error(pouring(CHUNKED, b"1000\r\n" + bytes(4096) + b"\r\n")) == bound

    @pytest.mark.proves("FT-05", "AC-113")
    async def test_drip(self) -> None:
        """One octet at a time, in the head or in the body, ends at the total deadline."""
        self.limits = HASTY
        assert await self.error(lambda it: it.drip(TYPED * 9)) == LATE

        def body(head: bytes, octets: bytes) -> Script:
            def script(conversation: Conversation) -> None:
                conversation.say(head)
                conversation.drip(octets)

            return script

        assert await self.error(body(TYPED + b"Content-Length: 1000\r\n\r\n", b"0")) == LATE
        assert await self.error(body(CHUNKED, b"1\r\nA\r\n" * 100)) == LATE

    @pytest.mark.proves("FT-03", "FT-05")
    async def test_silence(self) -> None:
        """No answer at all ends at the total deadline, also after the answer's head."""
        self.limits = HASTY
        assert await self.error(waiting) == LATE
        assert await self.error(saying(TYPED, b"Content-Length: 5\r\n\r\n", end=waiting)) == LATE

    async def test_giving_up(self) -> None:
        """Whoever gives up waiting does not know what became of the message, and the connection is cut."""
        exchange = self.serve(waiting)
        attempt = Deferred.fromCoroutine(self.failure_of(exchange.post(MESSAGE)))
        self.server.script = lambda conversation: attempt.cancel()
        error = await attempt
        assert error.sent
        assert error.reason == "given up"
        await self.server.conversations[0].ended

    @pytest.mark.proves("FT-03")
    async def test_server_that_never_reads(self) -> None:
        """A server that never reads ends at the deadline, though most of the message is still to be sent."""
        self.limits = HASTY
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            error = await self.failure_of(self.exchange(listening.getsockname()[1]).post(bytes(20_000_000)))
        assert error.sent
        assert error.reason == LATE

    @pytest.mark.proves("FT-06")
    async def test_resets_at_every_point(self) -> None:
        """A connection that is reset, wherever the answer stands, gives no answer."""
        whole = (OK + b"Content-Length: 10\r\n\r\n12345", CHUNKED + b"8\r\n12345")
        assert await self.error(Conversation.reset, early=True) == LOST
        for answer in whole:
            for end in (0, 7, len(OK), len(OK) + 9, answer.index(b"\r\n\r\n") + 2, len(answer) - 5, len(answer)):
                assert await self.error(saying(answer[:end], end=Conversation.reset)) == LOST

    @pytest.mark.proves("FT-07")
    async def test_short_bodies(self) -> None:
        """A body that is shorter than its declared length, or lacks its last chunk, gives no answer."""
        for parts in (
            (TYPED, b"Content-Length: 10\r\n\r\n12345"),
            (CHUNKED, b"8\r\n12345"),
            (CHUNKED, b"5\r\n12345\r\n"),
            (b"HTTP/1.1 200 OK",),
            (TYPED,),
            (),
        ):
            assert await self.error(saying(*parts)) == CLOSED

    @pytest.mark.proves("FT-07", "AC-113")
    async def test_what_is_not_http(self) -> None:
        """Contradicting lengths, unknown codings and octets that are no HTTP give no answer, and are not repeated."""
        for parts in (
            (TYPED, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
            (TYPED, b"Content-Length: -1\r\n\r\nabc"),
            (TYPED, b"Transfer-Encoding: secret\r\n\r\nabc"),
            (CHUNKED, b"secret\r\n"),
            (b"HTTP/1.1 secret OK\r\n\r\n",),
            (b"HTTP/1.1 200 OK\r\nno colon secret\r\n\r\n",),
            (b"SSH-2.0-secret\r\n",),
            (bytes(1000) + b"\n",),
        ):
            reason = await self.error(saying(*parts))
            assert reason.startswith("the exchange failed (")
            assert "secret" not in reason


class UnreachableTests(ExchangeCase):
    """Requests of which certainly nothing left."""

    @pytest.mark.proves("FT-01", "DR-10")
    async def test_refused_connection(self) -> None:
        """Where nobody listens, nothing was sent, and the reason says so."""
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        for request in (self.exchange(number).post(MESSAGE), self.exchange(number).get(OperationKind.GET_CA_CERT)):
            error = await self.failure_of(request)
            assert not error.sent
            assert error.reason == "no connection: Connection was refused by other side"

    @pytest.mark.proves("FT-03", "DR-10")
    async def test_connection_that_is_never_accepted(self) -> None:
        """Where the queue of connections is full, connecting ends in time, and nothing was sent."""
        self.limits = HASTY
        with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
            waiting_line = [socket.socket() for _ in range(4)]
            for each in waiting_line:
                self.addCleanup(each.close)
                each.setblocking(False)
                each.connect_ex(listening.getsockname())
            error = await self.failure_of(self.exchange(listening.getsockname()[1]).post(MESSAGE))
        assert not error.sent
        assert error.reason == "no connection within 1 s"

    @pytest.mark.proves("AC-116", "AC-113")
    async def test_client_leads_nowhere_else(self) -> None:
        """The client of one upstream connects to no other origin, whoever asks for it."""
        self.serve(saying(OK, b"Content-Length: 0\r\n\r\n"))
        canary = Hostile(waiting)
        port = reactor.listenTCP(0, canary, interface="127.0.0.9")
        self.addCleanup(port.stopListening)
        client = http_client(reactor, "http://127.0.0.1:1/scep", PATIENT)
        for url in (f"http://127.0.0.9:{port.getHost().port}/", "https://127.0.0.1:1/", "http://127.0.0.1:2/"):
            error = await self.failure_of(Exchange("ca", url, client, reactor, ANSWER).post(MESSAGE))
            assert error.reason == "the exchange failed (SchemeNotSupported)"
        assert canary.conversations == self.server.conversations == []
