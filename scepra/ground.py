"""What everything in a process stands on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from treq.client import HTTPClient
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from scepra.http.agent import http_client
from scepra.http.connection import Limits as HTTPLimits
from scepra.store.database import Database
from scepra.store.vault import Vault
from scepra.upstream.client import utc_now


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything in a process stands on.

    Attributes:
        database, vault: the store, and what seals things in it.
        reactor: the clock that nobody sets.
        now: the time of day, UTC.
        slowly: calls a function with its arguments where it may take its time.
        pausing: waits for so many seconds, in place of the reactor.
        outside: makes the way to a URL, in place of one over the reactor.
    """

    database: Database
    vault: Vault
    reactor: IReactorTime
    now: Callable[[], datetime] = utc_now
    slowly: Callable[..., Awaitable[Any]] = deferToThread
    pausing: Callable[[float], Awaitable[object]] | None = None
    outside: Callable[..., HTTPClient] | None = None

    @property
    def pause(self) -> Callable[[float], Awaitable[object]]:
        """Waits for so many seconds."""
        return self.pausing or partial(deferLater, self.reactor)

    def client(self, url: str, limits: HTTPLimits, *, socket: str | None = None) -> HTTPClient:
        """The way to a URL of the configuration that is no CA's; by a UNIX socket, where one is named."""
        if self.outside is not None:
            return self.outside(url, limits) if socket is None else self.outside(url, limits, socket=socket)
        return http_client(self.reactor, url, limits, socket=socket)
