"""Where connections lead: names that resolve slowly or not at all, and TLS with whom it should not be."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS

from scepra.http.agent import http_client
from scepra.http.endpoint import REMEMBERED, Named
from scepra.scep.transport import OperationKind
from scepra.upstream.exchange import Exchange
from tests.rig.material import NOW

from .hostile import Conversation, Hostile
from .test_exchange import HASTY, MESSAGE, OK, ExchangeCase, saying

FIRST, SECOND = IPv4Address("TCP", "192.0.2.1", 80), IPv4Address("TCP", "192.0.2.2", 80)
THIRD = IPv6Address("TCP", "2001:db8::3", 80)


class Resolver:
    """Look-ups that a test answers."""

    def __init__(self) -> None:
        self.asked: list[IResolutionReceiver] = []

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, port: int = 0) -> None:  # noqa: N802 - Twisted's name
        self.asked.append(receiver)

    def answer(self, *addresses: Any) -> None:
        """End the last look-up."""
        for address in addresses:
            self.asked[-1].addressResolved(address)
        self.asked[-1].resolutionComplete()


class Rig:
    """A name in a network that is in memory."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = self.reactor.nameResolver = Resolver()
        self.endpoint = Named(self.reactor, "ca.example", 80, 6)
        self.outcomes: list[Any] = []

    def connect(self) -> Deferred[Any]:
        attempt = self.endpoint.connect(Factory.forProtocol(Protocol))
        return attempt.addBoth(self.outcomes.append)

    def arrive(self) -> None:
        """The last connection that was tried is there."""
        self.reactor.tcpClients[-1][2].buildProtocol(None).makeConnection(StringTransport())

    def fail(self) -> None:
        """The last connection that was tried is refused."""
        self.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(Refused()))

    @property
    def tried(self) -> list[str]:
        return [client[0] for client in self.reactor.tcpClients]


def test_address_that_worked_comes_first() -> None:
    """The addresses of a name are tried in turn within the time there is, and next time first the one that worked."""
    rig = Rig()
    rig.connect()
    rig.resolver.answer(THIRD, FIRST, SECOND)
    rig.fail()
    rig.fail()
    rig.arrive()
    assert [client[:2] for client in rig.reactor.tcpClients] == [
        ("2001:db8::3", 80),
        ("192.0.2.1", 80),
        ("192.0.2.2", 80),
    ]
    assert {client[3] for client in rig.reactor.tcpClients} == {2}
    assert isinstance(rig.outcomes[0], Protocol)
    rig.connect()
    assert rig.tried[3:] == ["192.0.2.2"]
    rig.fail()
    assert rig.tried[4:] == ["2001:db8::3"]


def test_addresses_are_kept_for_a_minute() -> None:
    """A name is looked up once in a while, not for every connection, and anew when nothing of it works."""
    rig = Rig()
    rig.connect()
    rig.resolver.answer(FIRST)
    rig.arrive()
    rig.reactor.advance(REMEMBERED - 1)
    rig.connect()
    rig.arrive()
    assert len(rig.resolver.asked) == 1
    rig.reactor.advance(1)
    rig.connect()
    assert len(rig.resolver.asked) == 2
    rig.resolver.answer(FIRST)
    rig.fail()
    assert rig.outcomes[2].check(Refused)
    rig.connect()
    assert len(rig.resolver.asked) == 3


@pytest.mark.proves("FT-02", "DR-15")
def test_slow_resolver_is_asked_once() -> None:
    """However many wait for a name, and give up, one look-up is under way; whoever comes when it ends is served."""
    rig = Rig()
    impatient = [rig.connect() for _ in range(50)]
    for attempt in impatient:
        attempt.cancel()
    rig.reactor.advance(2 * REMEMBERED)
    rig.connect()
    assert len(rig.outcomes) == 50
    assert len(rig.resolver.asked) == 1
    rig.resolver.answer(FIRST)
    assert rig.tried == ["192.0.2.1"]
    rig.arrive()
    assert isinstance(rig.outcomes[50], Protocol)


class NameTests(ExchangeCase):
    """Upstreams by their names."""

    def named(self, host: str, port: int, resolver: Resolver | None = None) -> Exchange:
        """An exchange with a host by name, perhaps resolved by the test."""

        class Names:
            """The reactor, with other names."""

            def __getattr__(self, name: str) -> Any:
                return resolver if name == "nameResolver" else getattr(reactor, name)

        url = f"http://{host}:{port}/scep"
        return Exchange(
            "ca", url, http_client(reactor if resolver is None else Names(), url, self.limits), reactor, 1000
        )

    async def test_name(self) -> None:
        """An upstream is found by its name, and told it in Host."""
        port = int(self.serve(saying(OK, b"Content-Length: 0\r\n\r\n"))._url.split(":")[2].partition("/")[0])
        assert (await self.named("localhost", port).post(MESSAGE)).status == 200
        assert b"\r\nHost: localhost:%d\r\n" % port in self.server.requests[0]

    @pytest.mark.proves("FT-02", "DR-10")
    async def test_name_that_does_not_exist(self) -> None:
        """Where the name is unknown nothing was sent, and the reason says so."""
        resolver = Resolver()
        waiting = Deferred.fromCoroutine(self.failure_of(self.named("ca.example", 80, resolver).post(MESSAGE)))
        resolver.answer()
        error = await waiting
        assert not error.sent
        assert error.reason == "its host name is unknown"

    @pytest.mark.proves("FT-02", "DR-10")
    async def test_name_that_resolves_too_slowly(self) -> None:
        """A resolver that takes its time counts as connecting: it ends in time, and nothing was sent."""
        self.limits = HASTY
        resolver = Resolver()
        error = await self.failure_of(self.named("ca.example", 80, resolver).post(MESSAGE))
        assert not error.sent
        assert error.reason == "no connection within 1 s"


def certificate(
    host: str, *, end: timedelta = timedelta(days=1)
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A TLS server's certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
    alternative: x509.GeneralName = x509.DNSName(host)
    if host[0].isdigit():
        alternative = x509.IPAddress(ip_address(host))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=2), NOW + end)
    builder = builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
    return builder.sign(key, hashes.SHA256()), key


class TLSTests(ExchangeCase):
    """Upstreams over TLS."""

    def secure(self, host: str = "127.0.0.1", *, trusted: bool = True, **more: Any) -> Exchange:
        """A server with a certificate for *host*, and an exchange with it that believes it."""
        made, key = certificate(host, **more)
        self.server = Hostile(saying(OK, b"Content-Length: 2\r\n\r\nhi"))
        port = reactor.listenSSL(0, self.server, CertificateOptions(key, made), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.addCleanup(self.server.hang_up)
        policy = None
        if trusted:
            pem = made.public_bytes(Encoding.PEM)
            policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates([Certificate.loadPEM(pem)]))
        url = f"https://127.0.0.1:{port.getHost().port}/scep"
        return Exchange("ca", url, http_client(reactor, url, self.limits, policy), reactor, 1000)

    @pytest.mark.proves("HTTP-29")
    async def test_tls(self) -> None:
        """An upstream with a good certificate is asked over TLS, with a connection for each request."""
        exchange = self.secure()
        assert (await exchange.post(MESSAGE)).body == b"hi"
        assert (await exchange.get(OperationKind.GET_CA_CERT)).body == b"hi"
        assert len(self.server.requests) == 2
        assert self.server.requests[0].endswith(MESSAGE)

    @pytest.mark.proves("FT-19", "DR-10")
    async def test_servers_that_are_not_believed(self) -> None:
        """An unknown CA, another name and an expired certificate are refused before an octet of the request leaves."""
        for exchange, reason in (
            (self.secure(trusted=False), "no TLS: certificate verify failed"),
            (self.secure("192.0.2.1"), "no TLS: its certificate is for another name"),
            (self.secure("ca.example"), "no TLS: its certificate is for another name"),
            (self.secure(end=timedelta(days=-1)), "no TLS: certificate verify failed"),
        ):
            error = await self.failure_of(exchange.post(MESSAGE))
            assert not error.sent
            assert error.reason == reason
            assert set(self.server.requests) <= {b""}

    @pytest.mark.proves("FT-19", "FT-03", "DR-10")
    async def test_tls_that_does_not_come_up(self) -> None:
        """A server that speaks no TLS, hangs up or is silent is left in time, and nothing is sent to it."""
        self.limits = HASTY
        for script in (
            saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Conversation.close,
            Conversation.reset,
            lambda it: None,
        ):
            port = int(self.serve(script, early=True)._url.split(":")[2].partition("/")[0])
            url = f"https://127.0.0.1:{port}/scep"
            error = await self.failure_of(
                Exchange("ca", url, http_client(reactor, url, self.limits), reactor, 1000).post(MESSAGE)
            )
            assert not error.sent
            assert error.reason.startswith("no ")
            assert b"scep" not in self.server.requests[0]
            await self.server.conversations[0].ended
        assert error.reason == "no connection within 1 s"
