"""Who a request comes from: the peer of the connection, or what a trusted reverse proxy says of it (AC-011).

One header is read, ``X-Forwarded-For``, and only from an address that is configured as a proxy. Nothing else that a
client can write says who it is, and no header says what certificate it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from scepra.address import parse_address

_HOPS = 16


@dataclass(frozen=True, slots=True)
class Proxies:
    """The reverse proxies whose word is taken: the networks they are in."""

    networks: Sequence[IPv4Network | IPv6Network] = ()

    def __contains__(self, host: str) -> bool:
        address = parse_address(host)
        return address is not None and any(address in network for network in self.networks)

    def source(self, host: str, forwarded: Sequence[bytes]) -> str:
        """The address that a request counts as coming from.

        Args:
            host: the peer of the connection.
            forwarded: the values of ``X-Forwarded-For``, in the order of the header lines.

        Returns:
            The right-most hop that is no trusted proxy; *host* itself where it is none, or a proxy wrote nonsense.
        """
        address = parse_address(host)
        if address is not None:
            host = str(address)
        if host not in self:
            return host
        hops = b",".join(forwarded).decode("ascii", "replace").rsplit(",", _HOPS)[-_HOPS:]
        for hop in reversed(hops):
            address = parse_address(hop.strip())
            if address is None:
                break
            host = str(address)
            if host not in self:
                break
        return host


NOBODY = Proxies()
