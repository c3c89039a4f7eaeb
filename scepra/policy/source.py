"""The rule about the client's address (AC-011): what the connection says, never a header of the client's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.policy.alternative import unmapped
from scepra.policy.model import SourceSpec
from scepra.policy.rule import Request


@dataclass(frozen=True, slots=True)
class Source:
    """The networks that requests may come from."""

    name: ClassVar[str] = "source"
    spec: SourceSpec

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to; what is no address is in no network."""
        try:
            address = unmapped(ip_address(request.source))
        except ValueError:
            yield Violation(self.name, "source", "is not an IP address")
            return
        if not any(address in network for network in self.spec.networks):
            yield Violation(self.name, "source", "is in none of the networks")

    def look(self, request: Request) -> str:
        """The address."""
        return request.source
