"""Addresses of peers, and what counts as one place: an IPv4 address, or a network of IPv6 addresses (AC-011)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address


@lru_cache(maxsize=4096)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone; IPv4 where it is mapped into IPv6. None where *text* is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def neighbourhood(host: str, prefix: int = 64) -> str:
    """What is counted as one source: an IPv4 address, or the network of an IPv6 one, whose owner has all of it.

    Args:
        host: the peer's address as Twisted gives it, or the empty string for a UNIX socket.
        prefix: the length of such a network's prefix.
    """
    address = parse_address(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, prefix), strict=False))
    return host if address is None else str(address)
