"""How the lab's client reaches a server: each request once, on a connection of its own, its answer bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import treq
from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool

from scepra.errors import Refused

MAXIMUM = 1024 * 1024
TIMEOUT = 30.0

Send = Callable[..., Awaitable[Any]]


class HTTP(Protocol):
    """What is needed of treq: the module, a :class:`treq.client.HTTPClient`, or a ``StubTreq``."""

    @property
    def get(self) -> Send:
        """Sends a GET."""

    @property
    def post(self) -> Send:
        """Sends a POST."""


@dataclass(frozen=True, slots=True)
class Network:
    """HTTP over a real network."""

    get: Send
    post: Send


def http_client(reactor: Any, timeout: float = TIMEOUT) -> Network:
    """HTTP over *reactor*; an answer has to begin within *timeout* seconds."""
    agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False), connectTimeout=timeout)
    client = HTTPClient(agent)
    return Network(
        partial(client.get, reactor=reactor, timeout=timeout), partial(client.post, reactor=reactor, timeout=timeout)
    )


async def read(response: Any) -> bytes:
    """The body of an answer with status 200, of at most :data:`MAXIMUM` octets.

    Raises:
        Refused: it has another status, or is too large.
    """
    parts: list[bytes] = []
    size = 0

    def collect(part: bytes) -> None:
        nonlocal size
        size += len(part)
        if size > MAXIMUM:
            raise Refused("answered with too many octets", response.code)
        parts.append(part)

    await treq.collect(response, collect)
    if response.code != 200:
        retry_after = response.headers.getRawHeaders("retry-after", [""])[0]
        raise Refused(
            f"answered with HTTP status {response.code}",
            response.code,
            int(retry_after) if retry_after.isdecimal() else None,
        )
    return b"".join(parts)
