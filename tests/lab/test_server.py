"""The lab's CA on a real port, and its client over real connections."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.trial.unittest import TestCase
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from scepra.lab import Authority, Behaviour, CertificationService, Client, Fault, http_client
from scepra.lab.server import listen, url_of


class Port:
    """What listens at an address."""

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self.getHost = lambda: address


class ServerTests(TestCase):
    """Everything here goes through TCP."""

    timeout = 20

    async def setUp(self) -> None:
        self.service = CertificationService(Authority.create())
        self.port: IListeningPort = await listen(reactor, "tcp:0:interface=127.0.0.1", self.service)
        self.addCleanup(self.port.stopListening)

    def client(self, transport: str) -> Client:
        return Client(url_of(self.port), http_client(reactor), transport=transport)  # type: ignore[arg-type]

    async def test_enrolment_by_get_and_post(self) -> None:
        """A client enrols over TCP, by GET and by POST."""
        for transport in ("get", "post"):
            self.assertIsNotNone((await self.client(transport).enrol("dev1")).certificate)
            self.assertEqual(self.service.received[-1].method, transport.upper())

    async def test_nothing_is_sent_twice(self) -> None:
        """A connection that ends without an answer is an error, and the request came exactly once."""
        client = self.client("get")
        await client.discover()
        for fault, error in ((Fault.RESET, ResponseNeverReceived), (Fault.TRUNCATED, ResponseFailed)):
            self.service.behaviour = Behaviour(fault=fault)
            self.service.received.clear()
            try:
                await client.enrol("dev1", key="EC-P-256", challenge="x")
            except error:
                pass
            else:
                self.fail("an answer")
            self.assertEqual(len(self.service.received), 1)

    async def test_port_that_is_taken(self) -> None:
        """Two cannot listen at one port."""
        try:
            await listen(reactor, f"tcp:{self.port.getHost().port}:interface=127.0.0.1", self.service)
        except CannotListenError:
            return
        self.fail("both listen")


def test_url_of_a_port() -> None:
    """A URL names an address that can be connected to, in brackets where that is IPv6."""
    for host, shown in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("192.0.2.1", "192.0.2.1")):  # noqa: S104 - nothing listens there
        assert url_of(Port(IPv4Address("TCP", host, 80))) == f"http://{shown}:80/scep"  # type: ignore[arg-type]
    for host in ("::", "::1"):
        assert url_of(Port(IPv6Address("TCP", host, 80))) == "http://[::1]:80/scep"  # type: ignore[arg-type]
