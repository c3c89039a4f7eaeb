from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepra.address import neighbourhood, parse_address
from scepra.web.source import NOBODY, Proxies

TRUSTED = Proxies((ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))


@pytest.mark.proves("AC-011")
@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", ""])
@pytest.mark.parametrize("forwarded", [[], [b"198.51.100.1"], [b"10.0.0.1, 198.51.100.1"], [b"\xff\x00"]])
def test_a_stranger_is_not_believed(host: str, forwarded: list[bytes]) -> None:
    """What a peer says that is no trusted proxy changes nothing."""
    assert NOBODY.source(host, forwarded) == host


@pytest.mark.proves("AC-011")
@pytest.mark.parametrize(
    ("forwarded", "source"),
    [
        ([], "10.0.0.9"),
        ([b""], "10.0.0.9"),
        ([b"198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66", b"198.51.100.1"], "198.51.100.1"),
        ([b"192.0.2.66, 198.51.100.1, 10.0.0.2,10.0.0.3"], "198.51.100.1"),
        ([b"10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ([b"192.0.2.66, unknown, 10.0.0.2"], "10.0.0.2"),
        ([b"192.0.2.66, nonsense"], "10.0.0.9"),
        ([b"::ffff:198.51.100.1"], "198.51.100.1"),
        ([b"2001:DB8:0::1, 2001:db9::0:1"], "2001:db9::1"),
        ([b"198.51.100.1\r\n, x"], "10.0.0.9"),
        ([b"192.0.2.66," + b"10.0.0.1," * 10 + b"10.0.0.1"], "192.0.2.66"),
        ([b"192.0.2.66," + b"10.0.0.1," * 16 + b"10.0.0.1"], "10.0.0.1"),
        ([b"1" * 9000], "10.0.0.9"),
    ],
)
def test_a_trusted_proxy_says_who_came_to_it(forwarded: list[bytes], source: str) -> None:
    """The source is the right-most hop that is no trusted proxy; what stands left of it is the client's own story."""
    assert TRUSTED.source("10.0.0.9", forwarded) == source
    assert TRUSTED.source("::ffff:10.0.0.9", forwarded) == source


@given(st.lists(st.binary(max_size=60), max_size=5))
@pytest.mark.proves("AC-011")
def test_a_source_is_always_an_address(forwarded: list[bytes]) -> None:
    """Whatever a proxy passes on, the source is an address."""
    assert parse_address(TRUSTED.source("10.0.0.9", forwarded)) is not None


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(host: str, counted: str) -> None:
    """IPv4 counts by address, however it is written, and IPv6 by its /64."""
    assert neighbourhood(host) == counted


def test_proxies_are_found_by_address() -> None:
    """A proxy is known by its network, mapped into IPv6 or not, and nothing else is one."""
    assert "10.1.2.3" in TRUSTED
    assert "::ffff:10.1.2.3" in TRUSTED
    assert "2001:db8:5::1" in TRUSTED
    assert "11.0.0.1" not in TRUSTED
    assert "" not in TRUSTED
