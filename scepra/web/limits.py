"""What bounds a client of the HTTP front, as one value."""

from __future__ import annotations

import resource
from dataclasses import dataclass

SHORT = 16384
"""The length that any body may have, however many others there are, in octets: most have a quarter of it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a client. Sizes in octets, times in seconds.

    Attributes:
        request_target: the longest request target (HTTP-16).
        headers: all header lines of a request together.
        header_lines: how many they may be.
        body: the largest body (HTTP-17); a chunked one may take twice as much on the wire.
        bodies: all bodies together, of each what is longer than :data:`SHORT` (FT-53).
        request_deadline: from the first octet of a request to its last.
        idle: between requests, and for a client to take in an answer.
        answer: for the resource to answer; longer than any deadline of its own.
        connections: how many at once.
        connections_per_address: how many of them from one IPv4 address or IPv6 /64.
        requests_per_connection: after so many a connection is closed.
        reserved_descriptors: what connections leave to the store, the upstreams, the logs and other listeners.
    """

    request_target: int = 65536
    headers: int = 16384
    header_lines: int = 100
    body: int = 262144
    bodies: int = 33554432
    request_deadline: float = 10.0
    idle: float = 30.0
    answer: float = 60.0
    connections: int = 1000
    connections_per_address: int = 100
    requests_per_connection: int = 1000
    reserved_descriptors: int = 128

    def connections_with(self, descriptors: int) -> int:
        """How many connections there may be in a process that may open so many descriptors (AC-007)."""
        if descriptors == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, descriptors - self.reserved_descriptors))
