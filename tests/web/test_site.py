from __future__ import annotations

import resource
from ipaddress import ip_network

import pytest

from scepra.web.limits import Limits
from scepra.web.site import BoundedSite
from scepra.web.source import Proxies
from tests.web.wire import Leaf, Wire, request


@pytest.mark.proves("AC-007")
def test_one_address_has_so_many_connections() -> None:
    """A connection too many from one address is cut off, and one from another address is not."""
    wire = Wire()
    connections = [wire.connect("192.0.2.1") for _ in range(4)]
    assert [connection.transport.aborted for connection in connections] == [False, False, False, True]
    assert connections[3].send(request()) == []
    assert wire.connect("192.0.2.2").send(request())[0].status == 200
    connections[3].hang_up()
    connections[0].hang_up()
    assert wire.connect("192.0.2.1").send(request())[0].status == 200


@pytest.mark.proves("AC-007")
def test_one_network_of_ipv6_is_one_address() -> None:
    """Addresses of one IPv6 /64 count together, since one host can have all of them."""
    wire = Wire()
    connections = [wire.connect(f"2001:db8::{number}") for number in range(4)]
    assert [connection.transport.aborted for connection in connections] == [False, False, False, True]
    assert wire.connect("2001:db8:0:1::1").open


@pytest.mark.proves("AC-007", "I9")
def test_who_says_something_is_served_during_a_flood() -> None:
    """When all connections are taken, the one that has been silent longest makes room for the next."""
    wire = Wire()
    flood = [wire.connect(f"198.51.100.{number}") for number in range(5)]
    flood[0].send(b"GET /")  # It has begun to speak, and so begins to wait anew.
    good = wire.connect("192.0.2.1")
    assert [connection.transport.aborted for connection in flood] == [False, True, False, False, False]
    assert good.send(request())[0].status == 200
    for number in range(100):
        wire.connect(f"203.0.113.{number}")
    assert len(wire.site._neighbourhoods) == 5


@pytest.mark.proves("AC-007")
def test_who_is_being_answered_keeps_its_connection() -> None:
    """A request that is being answered is not cut off for a new connection, which is refused instead."""
    wire = Wire(leaf=Leaf(at_once=False))
    busy = [wire.connect(f"198.51.100.{number}") for number in range(5)]
    for connection in busy:
        connection.send(request())
    assert wire.connect("192.0.2.1").transport.aborted
    wire.leaf.finish()
    assert busy[0].read()[0].status == 200
    assert wire.connect("192.0.2.1").open
    assert busy[0].transport.aborted
    assert not any(connection.transport.aborted for connection in busy[1:])


def test_a_connection_that_closes_makes_room_first() -> None:
    """A connection that waits for its client to hang up counts as one that waits."""
    wire = Wire(leaf=Leaf(at_once=False))
    connections = [wire.connect(f"198.51.100.{number}") for number in range(5)]
    for connection in connections[1:]:
        connection.send(request())
    connections[0].send(b"x\r\n")
    assert wire.connect("192.0.2.1").open
    assert connections[0].transport.aborted


@pytest.mark.proves("AC-011")
def test_a_trusted_proxy_has_any_number_of_connections() -> None:
    """The cap on one address does not hold for a reverse proxy, through which everyone comes."""
    wire = Wire(proxies=Proxies((ip_network("192.0.2.0/24"),)))
    assert all(wire.connect("192.0.2.1").open for _ in range(5))


@pytest.mark.proves("AC-007")
@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(resource.RLIM_INFINITY, 1000), (1_000_000, 1000), (1128, 1000), (1024, 896), (200, 72), (100, 1)],
)
def test_connections_leave_descriptors_to_others(descriptors: int, connections: int) -> None:
    """However few files the process may open, some are kept for the store, the upstreams and the logs."""
    assert Limits().connections_with(descriptors) == connections


@pytest.mark.proves("AC-007")
def test_the_cap_is_lowered_to_what_the_process_may_open() -> None:
    """A site in a process that may open few files has few connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    try:
        assert Wire(limits=Limits()).site.connections == 372
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_unix_socket_has_no_address() -> None:
    """Connections without an address, of a proxy on this machine, are counted together but not capped as one."""
    wire = Wire()
    connections = [wire.connect("") for _ in range(5)]
    assert all(connection.open for connection in connections)


@pytest.mark.proves("SEC-17")
def test_there_is_no_log_file_of_requests() -> None:
    """Twisted's own access log, which holds whole request targets, is not opened."""
    wire = Wire()
    wire.site.doStart()
    assert wire.site._logFile is None
    assert wire.clock.getDelayedCalls() == []
    wire.site.doStop()
    assert isinstance(wire.site, BoundedSite)


def test_limits_have_defaults() -> None:
    """The defaults let a message with a large challenge through GET (HTTP-16), and a slow client finish."""
    limits = Limits()
    assert limits.request_target >= 64 * 1024
    assert limits.body >= 256 * 1024
