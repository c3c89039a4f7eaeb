from __future__ import annotations

import socket
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from scepra.web.channel import BoundedChannel
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.site import BoundedSite
from tests.web.authority import Fake
from tests.web.wire import parse_answers, request

CAPS = request(b"/scep?operation=GetCACaps")
LIMITS = replace(Limits(), request_deadline=0.5, idle=0.6, connections=40, connections_per_address=15)


class Client(Protocol):
    """A connection to the listener: what it got, when enough of it came, and when it ended."""

    def __init__(self) -> None:
        self.got = b""
        self.ended: Deferred[bytes] = Deferred()
        self._wanted: tuple[bytes, Deferred[bytes]] | None = None

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if self._wanted is not None and self._wanted[0] in self.got:
            waiting, self._wanted = self._wanted[1], None
            waiting.callback(self.got)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.got)

    def until(self, text: bytes) -> Deferred[bytes]:
        """What came, once *text* is in it."""
        waiting: Deferred[bytes] = Deferred()
        self._wanted = text, waiting
        self.dataReceived(b"")
        return waiting


class Channel(BoundedChannel):
    """A channel that says when it has ended."""

    def connectionMade(self) -> None:
        self.ended: Deferred[None] = Deferred()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.ended.callback(None)


class Site(BoundedSite):
    """A site that remembers its channels."""

    protocol = Channel

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.channels: list[Channel] = []

    def buildProtocol(self, addr: Any) -> Channel:
        self.channels.append(super().buildProtocol(addr))
        return self.channels[-1]


class ListenerTests(TestCase):
    """The listener as clients on a network meet it."""

    timeout = 60

    def listen(self, limits: Limits = LIMITS, tls: CertificateOptions | None = None) -> None:
        self.authority = Fake()
        self.site = Site(ScepResource(Routes([Route(self.authority, ["/scep"])])), limits, reactor)
        if tls is None:
            port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, self.site, tls, interface="127.0.0.1")
        self.port = port.getHost().port
        self.clients: list[Client] = []
        self.addCleanup(port.stopListening)
        self.addCleanup(self.hang_up)

    def hang_up(self) -> Deferred[Any]:
        """Close every client and wait until the listener has seen it."""
        for client in self.clients:
            client.transport.abortConnection()
        return gatherResults([channel.ended for channel in self.site.channels])

    async def connect(self, address: str = "127.0.0.1", tls: Any = None) -> Client:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port, bindAddress=(address, 0))
        client: Client = await connectProtocol(endpoint if tls is None else wrapClientTLS(tls, endpoint), Client())
        self.clients.append(client)
        return client

    async def refusal(self, head: bytes, flood: bytes, times: int) -> int:
        """The status that a client reads which sends all it has first, as simple clients do."""
        self.listen(replace(LIMITS, request_deadline=20))

        def send_then_read() -> bytes:
            with socket.create_connection(("127.0.0.1", self.port)) as client:
                client.sendall(head)
                for _ in range(times):
                    client.sendall(flood)
                return b"".join(iter(partial(client.recv, 65536), b""))

        [answer] = parse_answers(await deferToThread(send_then_read))
        return answer.status

    @pytest.mark.proves("HTTP-16")
    async def test_a_client_that_is_still_sending_reads_its_414(self) -> None:
        """A request target of megabytes is answered 414, and the answer survives what was still on its way."""
        assert (await self.refusal(b"GET /scep?message=", b"A" * 65536, 80)) == 414

    @pytest.mark.proves("HTTP-17", "AC-005")
    async def test_a_client_that_is_still_sending_reads_its_413(self) -> None:
        """A body over the limit is answered 413, declared or in chunks, while the client still sends."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.patch(tempfile, "tempdir", directory.name + "/none")  # A temporary file would fail.
        declared = request(b"/scep", b"POST", headers=(b"Content-Length: 262145",))
        assert (await self.refusal(declared, b"A" * 65536, 80)) == 413
        in_chunks = request(b"/scep", b"POST", headers=(b"Transfer-Encoding: chunked",))
        assert (await self.refusal(in_chunks, b"10000\r\n" + b"A" * 65536 + b"\r\n", 80)) == 413
        assert (await self.refusal(in_chunks, b"1\r\nA\r\n" * 10_000, 100)) == 413

    @pytest.mark.proves("AC-007", "I9")
    async def test_a_flood_of_silent_connections_keeps_nobody_out(self) -> None:
        """Silent connections from many addresses take no room from a client that speaks, and are closed in time."""
        self.listen()
        flood = [await self.connect(f"127.0.{n % 5}.{n // 5 + 2}") for n in range(200)]
        for client in flood[::3]:
            client.transport.write(b"POST /scep HT")
        good = await self.connect("127.0.9.1")
        good.transport.write(CAPS)
        assert b"SCEPStandard" in await good.until(b"SCEPStandard\n")
        assert len(self.site._neighbourhoods) == 40
        answers = await gatherResults([client.ended for client in flood])
        assert {answer[:12] for answer in answers} <= {b"", b"HTTP/1.1 408"}

    @pytest.mark.proves("AC-007")
    async def test_one_address_cannot_take_all_connections(self) -> None:
        """More connections from one address than it may have are closed, and its neighbours do not notice."""
        self.listen(replace(LIMITS, idle=20))
        greedy = [await self.connect("127.0.0.1") for _ in range(40)]
        await gatherResults([client.ended for client in greedy[15:]])
        assert len(self.site._neighbourhoods) == 15
        good = await self.connect("127.0.0.2")
        good.transport.write(CAPS)
        await good.until(b"SCEPStandard\n")
        greedy[0].transport.write(CAPS)
        await greedy[0].until(b"SCEPStandard\n")

    @pytest.mark.proves("I9")
    async def test_a_client_that_never_reads_is_dropped(self) -> None:
        """Answers that nobody takes in do not pile up: the client is read from no more, and then cut off."""
        self.listen(replace(LIMITS, requests_per_connection=10**6))
        self.authority.reply = b"x" * 100_000
        client = await self.connect()
        client.transport.pauseProducing()
        enrolment = request(b"/scep?operation=PKIOperation&message=QUJD")
        for _ in range(20):
            client.transport.write(enrolment * 1000)
        [channel] = self.site.channels
        await channel.ended
        assert 0 < len(self.authority.asked) < 2000

    @pytest.mark.proves("AC-013")
    async def test_tls_offers_http_1_1_only(self) -> None:
        """Under TLS a client that prefers HTTP/2 gets HTTP/1.1, the same answers, and the same refusals."""
        certificate, options = self_signed("ra.example")
        self.listen(replace(LIMITS, request_deadline=20), options)
        trust = trustRootFromCertificates([Certificate.loadPEM(certificate.public_bytes(Encoding.PEM))])
        tls = optionsForClientTLS("ra.example", trust, acceptableProtocols=[b"h2", b"http/1.1"])
        for data, status in ((CAPS, b"HTTP/1.1 200"), (b"GET /" + b"a" * 70_000, b"HTTP/1.1 414")):
            client = await self.connect(tls=tls)
            client.transport.write(data)
            assert (await client.until(b"\r\n\r\n")).startswith(status)
            assert client.transport.negotiatedProtocol == b"http/1.1"

    @pytest.mark.proves("AC-007", "I9")
    async def test_tls_changes_no_limit(self) -> None:
        """A client that never begins its handshake, and one connection too many, are closed under TLS as without it."""
        _, options = self_signed("ra.example")
        self.listen(LIMITS, options)
        silent = [await self.connect() for _ in range(20)]
        assert set(await gatherResults([client.ended for client in silent])) == {b""}


def self_signed(name: str) -> tuple[x509.Certificate, CertificateOptions]:
    """A certificate for a name, and a server's side of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, CertificateOptions(key, certificate)
