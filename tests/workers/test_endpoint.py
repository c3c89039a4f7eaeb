from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactor

from scepra.workers.endpoint import TCPEndpoint


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes sockets."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    "text",
    [
        "tcp:8080",
        "tcp:0",
        "tcp:8080:interface=127.0.0.1",
        "tcp:8080:127.0.0.1:5",
        r"tcp:8080:interface=\:\:1",
        r"tcp:8080:interface=2001\:db8\:\:1:backlog=7",
        "tcp:backlog=7:port=80",
        r"tcp:80\80",
        r"tcp:8080:inter\face=\1\2\7.0.0.1",
    ],
)
def test_endpoints_are_read_as_twisted_reads_them(text: str) -> None:
    """Port, interface and backlog are those that Twisted would listen with."""
    reactor = MemoryReactor()
    serverFromString(reactor, text).listen(None)
    [(port, _, backlog, interface)] = reactor.tcpServers
    assert TCPEndpoint.parse(text) == TCPEndpoint(port, interface, backlog)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:",
        "tcp:http",
        "ssl:443",
        "tcp:8080:interface=::1",
        "tcp:8080:mode=600",
        "tcp:8080:port=80",
        "tcp:8080:backlog=many",
        "tcp:80:127.0.0.1:5:5",
        "tcp:80\\",
    ],
)
def test_other_endpoints_are_refused(text: str) -> None:
    """What is no TCP endpoint is refused with a sentence."""
    with pytest.raises(ValueError, match="expected tcp:PORT"):
        TCPEndpoint.parse(text)


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1", ""])
def test_sockets_share_a_free_port(interface: str, opened: ExitStack) -> None:
    """Of several sockets at port 0, all have the port that the first was given, and each accepts connections."""
    sockets = [opened.enter_context(each) for each in TCPEndpoint(0, interface).bind(3)]
    [port] = {each.getsockname()[1] for each in sockets}
    for _ in range(100):
        opened.enter_context(socket.create_connection((interface or "127.0.0.1", port)))
    accepted = []
    for each in sockets:
        accepted.append(0)
        while True:
            try:
                opened.enter_context(each.accept()[0])
            except BlockingIOError:
                break
            accepted[-1] += 1
    assert sum(accepted) == 100
    assert min(accepted) > 0


def test_a_port_that_is_taken_is_refused(opened: ExitStack) -> None:
    """Where anybody listens already, be it another master, nobody else can."""
    [other] = TCPEndpoint(0, "127.0.0.1").bind(1)
    opened.enter_context(other)
    port = other.getsockname()[1]
    for count in (1, 2):
        with pytest.raises(CannotListenError, match=rf"127\.0\.0\.1:{port}"):
            TCPEndpoint(port, "127.0.0.1").bind(count)


def test_an_address_of_another_machine_is_refused() -> None:
    """Nobody listens at an address that is not this machine's; no socket is left open."""
    with pytest.raises(CannotListenError):
        TCPEndpoint(0, "192.0.2.1").bind(2)


def test_a_port_can_be_taken_again(opened: ExitStack) -> None:
    """After the sockets are closed, the port is free, though connections to it have just been open."""
    sockets = TCPEndpoint(0, "127.0.0.1").bind(1)
    port = sockets[0].getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):
        sockets[0].accept()[0].close()
    sockets[0].close()
    for each in TCPEndpoint(port, "127.0.0.1").bind(2):
        opened.enter_context(each)
