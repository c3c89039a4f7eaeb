"""From addresses that were seen to the networks that they are in; memory is bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network

from scepra.policy.generalisation import MEMBERS

Address = IPv4Address | IPv6Address
AddressNetwork = IPv4Network | IPv6Network

MOST_NETWORKS = 32
_KEPT = 4096
_FIRST, _STEP, _WIDEST = {4: 24, 6: 64}, 4, {4: 8, 6: 32}


@dataclass(slots=True)
class Addresses:
    """All addresses of one kind; ``count`` counts repetitions too."""

    count: int = 0
    _blocks: dict[AddressNetwork, set[Address]] = field(default_factory=dict)
    _prefixes: dict[int, int] = field(default_factory=lambda: dict(_FIRST))
    _everywhere: bool = False

    def add(self, address: Address) -> None:
        """Note one."""
        self.count += 1
        if self._everywhere:
            return
        self._put(address)
        while len(self._blocks) > _KEPT and not self._everywhere:
            self._widen()

    def networks(self) -> tuple[AddressNetwork, ...] | None:
        """The networks that hold all of them, and few others; None if they come from everywhere.

        A network stands for a block in which enough different addresses were seen; others stand for themselves.
        """
        while len(found := self._networks()) > MOST_NETWORKS and not self._everywhere:
            self._widen()
        return None if self._everywhere else tuple(found)

    def _put(self, address: Address) -> None:
        network = ip_network((address, self._prefixes[address.version]), strict=False)
        members = self._blocks.setdefault(network, set())
        if len(members) < MEMBERS:
            members.add(address)

    def _networks(self) -> list[AddressNetwork]:
        found: list[AddressNetwork] = []
        for version in (4, 6):
            each = [
                network
                for block, members in self._blocks.items()
                if block.version == version
                for network in ([block] if len(members) >= MEMBERS else map(ip_network, members))
            ]
            found += _collapsed(each)
        return found

    def _widen(self) -> None:
        """Make the blocks larger, as long as that still says anything."""
        wider = {version: max(bits - _STEP, _WIDEST[version]) for version, bits in self._prefixes.items()}
        if wider == self._prefixes:
            self._everywhere, self._blocks = True, {}
            return
        self._prefixes, blocks = wider, self._blocks
        self._blocks = {}
        for members in blocks.values():
            for address in members:
                self._put(address)


def _collapsed(networks: Iterable[AddressNetwork]) -> list[AddressNetwork]:
    return list(collapse_addresses(networks))  # type: ignore[type-var]
