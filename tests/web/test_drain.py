from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from zope.interface import implementer

from scepra.web.drain import Front
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.site import BoundedSite
from scepra.web.underway import UnderWay
from tests.web.authority import Fake
from tests.web.wire import TLS, Connection, Wire, request

GRACE = 25
CAPS = request(b"/scep?operation=GetCACaps")
ENROL = request(b"/scep?operation=PKIOperation&message=QUJD")


@implementer(IListeningPort, IReadDescriptor)
class Port:
    """A port at which connections wait until they are accepted, one at a time."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.listening = True

    def doRead(self) -> None:  # noqa: N802 - Twisted's name
        assert self.listening
        if self.waiting:
            self.waiting.pop(0)()

    def stopListening(self) -> None:  # noqa: N802 - Twisted's name
        self.listening = False


class Ending:
    """A front that serves, and then is told to stop."""

    def __init__(self, grace: float = GRACE) -> None:
        self.authority = Fake()
        resource = ScepResource(Routes([Route(self.authority, ["/scep"])]))
        self.wire = Wire(resource, replace(Limits(), connections_per_address=100))
        self.port = Port()
        self.front = Front([self.listen], self.wire.site, resource.operations, self.wire.clock, grace)
        self.front.privilegedStartService()
        self.front.startService()
        self.stopped: list[object] = []

    async def listen(self, site: BoundedSite) -> Any:
        assert site is self.wire.site
        return self.port

    def held(self) -> tuple[Connection, Deferred[bytes]]:
        """A connection whose enrolment takes until the Deferred has a result."""
        reply: Deferred[bytes] = Deferred()
        self.authority.reply = reply
        connection = self.wire.connect()
        assert connection.send(ENROL) == []
        return connection, reply

    def stop(self) -> None:
        self.front.stopService().addBoth(self.stopped.append)


@pytest.fixture
def ending() -> Ending:
    return Ending()


@pytest.mark.proves("FT-45")
def test_nothing_is_under_way() -> None:
    """With nothing under way it ends at once, and no port listens any more."""
    ending = Ending()
    ending.stop()
    assert ending.stopped == [None]
    assert not ending.port.listening
    assert ending.wire.clock.getDelayedCalls() == []


@pytest.mark.proves("FT-45")
def test_an_enrolment_under_way_is_answered_before_the_end(ending: Ending) -> None:
    """A request that is being worked on gets its answer, which says that the connection closes; then it ends."""
    connection, reply = ending.held()
    ending.stop()
    ending.wire.clock.advance(GRACE - 1)
    assert ending.stopped == []
    assert connection.open
    reply.callback(b"CertRep")
    [answer] = connection.read()
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"CertRep", "close")
    assert connection.transport.half_closed
    assert ending.stopped == []
    connection.hang_up()
    assert ending.stopped == [None]
    assert ending.wire.clock.getDelayedCalls() == []


@pytest.mark.proves("FT-45")
def test_idle_connections_are_closed_at_once(ending: Ending) -> None:
    """A connection between two requests is closed; one that has sent nothing yet has a moment to."""
    idle, new, silent = (ending.wire.connect() for _ in range(3))
    idle.send(CAPS)
    ending.stop()
    assert (idle.open, new.open, silent.open) == (False, True, True)
    [answer] = new.send(CAPS)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert not new.open
    ending.wire.clock.advance(2)
    assert not silent.open
    assert ending.stopped == []
    ending.wire.clock.advance(1)
    assert ending.stopped == [None]


@pytest.mark.proves("FT-45")
def test_a_request_that_still_arrives_is_answered(ending: Ending) -> None:
    """A request of which a part has come is received and answered, whichever part it is; its successors are not."""
    first, second = ending.wire.connect(), ending.wire.connect()
    body = request(b"/scep?operation=PKIOperation", b"POST", b"\x30\x01A")
    first.send(body[:10])
    second.send(body[:-1])
    ending.stop()
    for connection, rest in ((first, body[10:]), (second, body[-1:])):
        [answer] = connection.send(rest + CAPS)
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"CertRep", "close")
        assert not connection.open
    assert [message for message, _ in ending.authority.asked] == [b"\x30\x01A"] * 2


@pytest.mark.proves("FT-45", "FT-21")
def test_an_enrolment_without_its_client_is_awaited(ending: Ending) -> None:
    """An operation whose client has hung up is worked on to its end."""
    connection, reply = ending.held()
    connection.hang_up()
    ending.stop()
    assert ending.stopped == []
    reply.callback(b"CertRep")
    assert ending.stopped == [None]
    assert ending.authority.finished == 1


@pytest.mark.proves("FT-45", "I9")
def test_what_takes_longer_than_the_grace_is_told_to_come_back() -> None:
    """When the grace ends, clients that still wait get 503 and when to come back, and it ends."""
    ending = Ending(5)
    waiting, _ = ending.held()
    arriving = ending.wire.connect()
    arriving.send(ENROL[:-1])
    ending.stop()
    ending.wire.clock.advance(4.9)
    assert waiting.read() == arriving.read() == []
    ending.wire.clock.advance(0.1)
    for connection in (waiting, arriving):
        [answer] = connection.read()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert int(answer.headers["retry-after"]) > 0
    ending.wire.clock.advance(1)
    assert ending.stopped == [None]


@pytest.mark.proves("FT-45")
def test_clients_that_do_not_hang_up_do_not_keep_it(ending: Ending) -> None:
    """A client that has its answer and leaves its connection open is waited for shortly, under TLS too."""
    connections = [ending.wire.connect(), ending.wire.connect(transport=TLS)]
    for connection in connections:
        connection.send(CAPS)
    ending.stop()
    assert [connection.open for connection in connections] == [False, False]
    ending.wire.clock.advance(0.9)
    assert ending.stopped == []
    ending.wire.clock.advance(0.1)
    assert ending.stopped == [None]


def test_no_grace() -> None:
    """A grace of nothing ends what is under way, at once."""
    ending = Ending(0)
    connection, _ = ending.held()
    silent = ending.wire.connect()
    ending.stop()
    ending.wire.clock.advance(0)
    assert [answer.status for answer in connection.read()] == [503]
    assert not silent.open
    ending.wire.clock.advance(1)
    assert ending.stopped == [None]


@pytest.mark.proves("FT-45")
def test_clients_that_the_kernel_has_let_in_are_served(ending: Ending) -> None:
    """Connections that were established but not yet accepted are taken in before the port closes."""
    late: list[Connection] = []
    ending.port.waiting = [lambda: late.append(ending.wire.connect())] * 3
    ending.stop()
    assert not ending.port.listening
    assert [connection.send(CAPS)[0].status for connection in late] == [200, 200, 200]


def test_a_port_that_is_taken_is_told() -> None:
    """Where somebody else listens, it does not start; what it could listen on is closed when it stops."""

    async def taken(site: BoundedSite) -> Any:
        raise CannotListenError("", 80, OSError("taken"))

    ending = Ending()
    front = Front([ending.listen, taken], ending.wire.site, UnderWay(), ending.wire.clock, GRACE)
    with pytest.raises(CannotListenError):
        front.privilegedStartService()
    front.stopService()
    assert not ending.port.listening
