"""A CA that takes its time, forgets, or dislikes to be asked twice; answers that come slowly or with a false length."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import ResponseFailed

from scepra.errors import FailInfo, ScepError
from scepra.lab import Authority, Behaviour, CertificationService, Client, Duplicates, Fault
from scepra.lab.server import listen
from scepra.scep.message import PKIStatus
from scepra.scep.transport import OperationKind

from .conftest import CHALLENGE, URL, run


def test_pending_for_some_polls(client: Client, service: CertificationService) -> None:
    """A CA that takes its time answers so many polls with PENDING, and the next with the certificate."""
    service.behaviour = Behaviour(status=PKIStatus.PENDING, polls=2)
    pending = run(client.enrol("dev1", challenge=CHALLENGE))
    said = [run(client.poll(pending)).status for _ in range(4)]
    assert [pending.status, *said] == [PKIStatus.PENDING] * 3 + [PKIStatus.SUCCESS] * 2


def test_what_is_pending_is_forgotten(client: Client, service: CertificationService) -> None:
    """A CA that forgets answers polls with badCertId, and begins anew if asked anew; what is issued it keeps."""
    service.behaviour = Behaviour(status=PKIStatus.PENDING)
    pending = run(client.enrol("dev1", challenge=CHALLENGE))
    service.behaviour = Behaviour(forgets=True)
    poll = run(client.poll(pending))
    assert (poll.status, poll.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_CERT_ID)
    again = run(client.enrol(csr=pending.csr, key=pending.key, challenge=CHALLENGE))
    assert (again.transaction_id, again.status) == (pending.transaction_id, PKIStatus.SUCCESS)
    assert run(client.poll(pending)).certificate == again.certificate


@pytest.mark.parametrize("status", [PKIStatus.SUCCESS, PKIStatus.PENDING])
def test_second_request_is_refused(status: PKIStatus, client: Client, service: CertificationService) -> None:
    """A CA may refuse a request that it has had already; polls bring what came of the first."""
    service.behaviour = Behaviour(status=status, duplicates=Duplicates.REFUSED)
    first = run(client.enrol("dev1", challenge=CHALLENGE))
    again = run(client.enrol(csr=first.csr, key=first.key, challenge=CHALLENGE))
    assert (first.status, again.status, again.fail_info) == (status, PKIStatus.FAILURE, FailInfo.BAD_REQUEST)
    assert run(client.poll(first)).certificate == first.certificate


def test_second_request_is_issued_again(client: Client, service: CertificationService) -> None:
    """A CA may make another certificate for a request that it has had already; polls bring the newest."""
    service.behaviour = Behaviour(duplicates=Duplicates.ISSUED)
    first = run(client.enrol("dev1", challenge=CHALLENGE))
    again = run(client.enrol(csr=first.csr, key=first.key, challenge=CHALLENGE))
    assert first.certificate is not None and again.certificate is not None
    assert first.certificate.serial != again.certificate.serial
    assert run(client.poll(first)).certificate == again.certificate


def test_half_of_the_answer_is_read_where_the_length_says_so(client: Client, service: CertificationService) -> None:
    """A Content-Length that is too small leaves half a message, which is no CertRep."""
    run(client.discover())
    service.behaviour = Behaviour(fault=Fault.SHORT)
    with pytest.raises(ScepError):
        run(client.enrol("dev1", challenge=CHALLENGE))
    assert service.received[-1].status is PKIStatus.SUCCESS


class Dripping:
    """A GetCACaps whose answer drips, one octet in two seconds; ``bodies`` has it when it is there."""

    def __init__(self, service: CertificationService) -> None:
        service.behaviour = Behaviour(fault=Fault.DRIP, pause=2.0, faulty=frozenset((OperationKind.GET_CA_CAPS,)))
        self._stub = StubTreq(service)
        self.clock: Clock = self._stub._agent._memoryReactor
        self.bodies: list[bytes] = []
        self._asking = Deferred.fromCoroutine(self._ask()).addErrback(lambda failure: failure.trap(ResponseFailed))

    async def _ask(self) -> None:
        response = await self._stub.get(f"{URL}?operation=GetCACaps")
        self.bodies.append(await response.content())

    def hang_up(self) -> None:
        for pump in self._stub._agent._pumps:
            pump.client.transport.loseConnection()
        self._stub.flush()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self._stub.flush()
            self.clock.advance(1.0)
        self._stub.flush()


def test_answer_that_drips(service: CertificationService) -> None:
    """One octet comes after the other, with a pause between them, until all are there."""
    dripping = Dripping(service)
    length = len(service._ca_caps())
    dripping.wait(2 * length - 4)
    assert dripping.bodies == []
    dripping.wait(6)
    assert dripping.bodies == [service._ca_caps()]
    assert dripping.clock.getDelayedCalls() == []


def test_client_that_does_not_wait_for_the_last_octet(service: CertificationService) -> None:
    """A client that hangs up ends the dripping."""
    dripping = Dripping(service)
    dripping.wait(10)
    assert dripping.clock.getDelayedCalls() != []
    dripping.hang_up()
    assert dripping.bodies == dripping.clock.getDelayedCalls() == []


class ConnectionTests(TestCase):
    """What only a real connection shows."""

    timeout = 20

    async def setUp(self) -> None:
        self.service = CertificationService(Authority.create())
        self.port: IListeningPort = await listen(reactor, "tcp:0:interface=127.0.0.1", self.service)
        self.addCleanup(self.port.stopListening)

    def _read(self, look: Callable[[socket.socket], bytes]) -> Deferred[bytes]:
        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", self.port.getHost().port), 10) as connection:
                connection.sendall(b"GET /scep?operation=GetCACert HTTP/1.1\r\nHost: ca.example\r\n\r\n")
                return look(connection)

        return deferToThread(ask)

    async def test_connection_that_is_reset_within_the_answer(self) -> None:
        """Half of the answer comes, and then a reset."""
        self.service.behaviour = Behaviour(fault=Fault.CUT, faulty=frozenset((OperationKind.GET_CA_CERT,)))

        def until_reset(connection: socket.socket) -> bytes:
            received = b""
            try:
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionResetError:
                return received
            return b"it ended in good order"

        head, _, body = (await self._read(until_reset)).partition(b"\r\n\r\n")
        whole = self.service.authority.certificate.der
        self.assertIn(b"content-length: %d" % len(whole), head.lower())
        self.assertEqual(body, whole[: len(whole) // 2])
