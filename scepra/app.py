"""The composition root: from a configuration to the service that twistd runs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from socket import socket
from typing import Any, TypeVar, cast

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IReactorCore, IReactorSocket, IReactorTCP, IReactorTime
from twisted.logger import Logger

from scepra.config import model
from scepra.config.source import Source
from scepra.construction import read_noting
from scepra.errors import ConfigError, Problem, StoreError
from scepra.ground import Ground
from scepra.keys.token import Tokens
from scepra.presence import Presence
from scepra.store import tokens
from scepra.store.database import ThreadedDatabase
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import Migration, Newer
from scepra.store.vault import read_vault
from scepra.upstream.client import utc_now
from scepra.web.admin.resource import AdminResource
from scepra.web.drain import Front
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.site import BoundedSite
from scepra.works import Beside, Works, erect

log = Logger()

STORE_THREADS = 4
"""How many threads use a database server at once."""
STORE_QUEUE = 1000
"""How many calls may wait for the database."""
ADMIN_LIMITS = Limits(request_target=2048, body=65536, connections=64, connections_per_address=64)
"""What bounds a client of the administration."""
LOST = 3
"""The exit status of a worker after which none would fare better: the database has been deleted or replaced under it,
or it cannot listen."""

T = TypeVar("T")
R = TypeVar("R")


class Reactor(IReactorCore, IReactorTime, IReactorTCP, IReactorSocket):
    """What the RA needs of a reactor; the default one provides it."""


class InTurn(MultiService):
    """Services that start in order and end in the reverse order, each when all after it have ended."""

    def stopService(self) -> Deferred[None]:
        """End them one by one."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                # What comes next must end all the same.
                log.failure("{service} did not end as it should", service=type(service).__name__)


class Sessions(Service):
    """The sessions with tokens; keys may be found in them before it starts, so they end even if it never does."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def stopService(self) -> None:
        """End them."""
        super().stopService()
        self.tokens.leave()


def rehearse(source: Source, settings: model.Config, reactor: Reactor) -> None:
    """Find out what is wrong with keys and certificates, and keep nothing open.

    Raises:
        ConfigError: as for :func:`assemble`.
    """
    for each in assemble(source, settings, reactor):
        if isinstance(each, Sessions):
            each.tokens.leave()


def assemble(
    source: Source,
    settings: model.Config,
    reactor: Reactor,
    now: Callable[[], datetime] = utc_now,
    sockets: Sequence[socket] | None = None,
    administers: bool = True,
) -> RA:
    """The whole RA as one service: keys are read here, the network is touched when it starts.

    When it stops, clients are let go first, then everything else ends.

    Args:
        source: the configuration file.
        settings: what it says, checked.
        reactor: everything that waits, waits on it.
        now: the time of day, UTC.
        sockets: a worker's: they listen already, in place of the configured endpoints, and the worker takes its share
            of all connections.
        administers: whether it listens for the administration too; of several workers, one does.

    Raises:
        ConfigError: keys or certificates cannot be used, with every problem found.
    """
    problems: list[Problem] = []
    vault = read_noting(read_vault, settings.store.key_file, problems)
    if vault is None:
        raise ConfigError(tuple(problems))
    database = ThreadedDatabase(
        create_engine(settings.store, STORE_THREADS),
        settings.store.sqlite_path,
        reactor,
        threads=STORE_THREADS,
        patience=2 * settings.store.timeout,
        limit=STORE_QUEUE,
        lost=partial(_lost, reactor),
    )
    ground = Ground(database, vault, reactor, now)
    return RA(source, settings, ground, database, sockets, administers)


class RA(InTurn):
    """The whole RA of one process. ``works`` is what it goes by, and can be replaced while clients are served."""

    def __init__(
        self,
        source: Source,
        settings: model.Config,
        ground: Ground,
        database: ThreadedDatabase,
        sockets: Sequence[socket] | None,
        administers: bool,
    ) -> None:
        """
        Args:
            source, settings, sockets, administers: as for :func:`assemble`.
            ground: what everything stands on.
            database: the same as the ground's, as a service.

        Raises:
            ConfigError: as for :func:`assemble`.
        """
        super().__init__()
        reactor = cast(Reactor, ground.reactor)
        self._ground = ground
        self._processes = 1 if sockets is None else settings.processes
        self.works = works = erect(source.version, settings, ground, self._processes)
        leader = None if sockets is None else os.getppid()
        self._presence = Presence(ground.database, works.built.owner, source, leader, ground.now, ground.reactor)
        self._resource = ScepResource(works.built.routes, works.proxies)
        limits = _limits(settings.limits, self._processes)
        self._site = BoundedSite(self._resource, limits, reactor, works.proxies)
        self._beside = Beside(works)
        self._administration = AdminResource(works.registry, partial(_find_token, ground), ground.now)
        # What stops last is what the others need to stop in good order.
        database.setServiceParent(self)
        Sessions(works.built.tokens).setServiceParent(self)
        self._beside.setServiceParent(self)
        self._presence.setServiceParent(self)
        if sockets is None:
            ports = [serverFromString(reactor, endpoint).listen for endpoint in settings.listen.scep]
        else:
            ports = [partial(_adopt, reactor, each) for each in sockets]
        grace = settings.shutdown_grace
        Front(ports, self._site, self._resource.operations, reactor, grace).setServiceParent(self)
        if settings.listen.admin and administers:
            site = BoundedSite(self._administration, ADMIN_LIMITS, reactor)
            ports = [serverFromString(reactor, endpoint).listen for endpoint in settings.listen.administration]
            Front(ports, site, self._administration.operations, reactor, grace).setServiceParent(self)

    # Another configuration (FT-51)

    @property
    def settings(self) -> model.Config:
        """What it goes by."""
        return self.works.settings

    async def prepare(self, source: Source, settings: model.Config) -> Works:
        """Everything that another configuration makes, ready to be taken; nothing has changed yet.

        Args:
            source: the configuration file.
            settings: what it says, checked, with the same of what cannot change (:mod:`scepra.config.restart`).

        Raises:
            ConfigError: keys or certificates cannot be used, with every problem found.
        """
        works: Works = await self._ground.slowly(
            erect, source.version, settings, self._ground, self._processes, self.works
        )
        await works.look(self.works)
        return works

    async def take(self, works: Works) -> None:
        """Go by what was prepared, from the next request on; what is under way ends as it has begun."""
        before, self.works = self.works, works
        self._resource.serve(works.built.routes, works.proxies)
        self._site.bound(_limits(works.settings.limits, self._processes), works.proxies)
        self._administration.registry = works.registry
        self._beside.replace(before, works)
        self._presence.taken(works.version)

    def refuse(self, failure: str) -> None:
        """Go on as before; *failure* says why another configuration is not taken."""
        self._presence.refused(failure)


async def _find_token(ground: Ground, text: str) -> tokens.Token | None:
    """The token that is kept for a text, good or not."""
    return await ground.database.read(tokens.find, tokens.digest(ground.vault, text))


async def _adopt(reactor: Reactor, listening: socket, site: BoundedSite) -> IListeningPort:
    """Accept from a socket that listens already; the port has a copy of it."""
    with listening:
        return reactor.adoptStreamPort(listening.fileno(), listening.family, cast(Any, site))


def prepare(settings: model.Config, reactor: Reactor) -> IService | None:
    """Make the store ready: its key, its file, its tables. One process does this, before any other uses the store.

    Returns:
        None when it is ready; a service that goes on trying where the database server does not answer yet (FT-39).

    Raises:
        ConfigError: it cannot be used: a key that is missing, or tables of a newer program (AC-137).
    """
    store = settings.store
    read_vault(store.key_file, create=not store.is_postgresql)
    if store.sqlite_path is not None:
        create_file(store.sqlite_path)
    migration = Migration(create_engine(store, 1), reactor)
    try:
        migration.attempt()
    except StoreError as error:
        if not store.is_postgresql or isinstance(error, Newer):
            raise ConfigError((Problem("store", 0, 0, "store.url", error.reason),)) from error
        log.error("{error}; trying again", error=error.reason)
        return migration
    return None


def _lost(reactor: Reactor, error: StoreError) -> None:
    """Stop: what would be written from now on, nobody would ever read (FT-35)."""
    log.critical("{error}: stopping", error=error.reason)
    # After everything else has ended; the exit status says that it was not asked to.
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, LOST)
    # It may be stopping already: the master tells all workers to when the first has noticed.
    with suppress(ReactorNotRunning):
        reactor.stop()


def _limits(limits: model.Limits, processes: int) -> Limits:
    return Limits(
        request_target=limits.request_target,
        headers=limits.headers,
        header_lines=limits.header_lines,
        body=limits.body,
        bodies=limits.bodies,
        request_deadline=limits.request_deadline,
        idle=limits.idle,
        answer=limits.answer_deadline,
        connections=math.ceil(limits.connections / processes),
        connections_per_address=limits.connections_per_address,
        requests_per_connection=limits.requests_per_connection,
        reserved_descriptors=limits.reserved_descriptors,
    )
