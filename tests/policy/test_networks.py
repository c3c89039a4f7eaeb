"""From addresses to the networks that they are in."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from scepra.policy.networks import MOST_NETWORKS, Addresses


def networks(*addresses: str | IPv4Address | IPv6Address) -> list[str] | None:
    """The networks for some addresses, each of which is in one of them."""
    seen = Addresses()
    for address in addresses:
        seen.add(ip_address(address))
    found = seen.networks()
    if found is None:
        return None
    assert all(any(ip_address(each) in network for network in found) for each in addresses)
    return list(map(str, found))


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["192.0.2.7"], ["192.0.2.7/32"]),
        (["192.0.2.7", "192.0.2.7", "192.0.2.9"], ["192.0.2.7/32", "192.0.2.9/32"]),
        (["192.0.2.7", "192.0.2.8", "192.0.2.9"], ["192.0.2.0/24"]),
        (["10.0.0.1", "192.0.2.7", "192.0.2.80", "192.0.2.9"], ["10.0.0.1/32", "192.0.2.0/24"]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3", "::1"], ["::1/128", "2001:db8::/64"]),
    ],
)
def test_enough_of_a_block_are_the_block(addresses: list[str], expected: list[str]) -> None:
    """Three different addresses of a block stand for it; fewer stand for themselves."""
    assert networks(*addresses) == expected


def test_many_blocks_become_larger_ones() -> None:
    """More networks than anybody reads become wider ones, which hold every address."""
    spread = [f"10.{high}.{low}.1" for high in range(3) for low in range(60)]
    found = networks(*spread)
    assert found is not None
    assert len(found) <= MOST_NETWORKS
    assert all(ip_network(each).subnet_of(ip_network("10.0.0.0/14")) for each in found)


def test_everywhere_is_no_network() -> None:
    """What comes from all over is in no few networks, and does not use up memory either."""
    chance = random.Random(1)
    assert networks(*(IPv4Address(chance.getrandbits(32)) for _ in range(2000))) is None
    assert networks(*(IPv6Address(chance.getrandbits(128)) for _ in range(5000))) is None
