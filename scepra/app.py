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
from scepra.construction import build, read_noting
from scepra.errors import ConfigError, Problem, StoreError
from scepra.ground import Ground
from scepra.health import Checkup
from scepra.housekeeper import Housekeeper
from scepra.keys.token import Tokens
from scepra.ndes.broker import brokers
from scepra.notifier import Notifier
from scepra.reconciler import Reconciler
from scepra.shadow import ShadowSummary
from scepra.store import tokens
from scepra.store.database import ThreadedDatabase
from scepra.store.engine import create_engine, create_file
from scepra.store.schema import Migration, Newer
from scepra.store.vault import read_vault
from scepra.succession import StoredSuccessions
from scepra.upstream.client import Upstream, utc_now
from scepra.watch import Watch
from scepra.web.admin.challenges import ChallengesAPI
from scepra.web.admin.giver import Giver
from scepra.web.admin.metrics import MetricsPage
from scepra.web.admin.ndes import NdesPages
from scepra.web.admin.resource import AdminResource
from scepra.web.admin.route import Registry
from scepra.web.drain import Front
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.site import BoundedSite
from scepra.web.source import Proxies

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


def rehearse(settings: model.Config, reactor: Reactor) -> None:
    """Find out what is wrong with keys and certificates, and keep nothing open.

    Raises:
        ConfigError: as for :func:`assemble`.
    """
    for each in cast(MultiService, assemble(settings, reactor)):
        if isinstance(each, Sessions):
            each.tokens.leave()


def assemble(
    settings: model.Config,
    reactor: Reactor,
    now: Callable[[], datetime] = utc_now,
    sockets: Sequence[socket] | None = None,
    administers: bool = True,
) -> IService:
    """The whole RA as one service: keys are read here, the network is touched when it starts.

    When it stops, clients are let go first, then everything else ends.

    Args:
        settings: a checked configuration.
        reactor: everything that waits, waits on it.
        now: the time of day, UTC.
        sockets: a worker's: they listen already, in place of the configured endpoints, and the worker takes its share
            of all connections.
        administers: whether it listens for the administration too; of several workers, one does.

    Raises:
        ConfigError: keys or certificates cannot be used, with every problem found.
    """
    service = InTurn()
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
    upstreams = {
        name: Upstream(name, upstream, reactor, now, successions=StoredSuccessions(name, database))
        for name, upstream in settings.upstreams.items()
    }
    processes = 1 if sockets is None else settings.processes
    built = build(settings, upstreams, Ground(database, vault, reactor, now), processes)
    proxies = Proxies(settings.listen.trusted_proxies)
    resource = ScepResource(built.routes, proxies)
    limits = _limits(settings.limits, processes)
    site = BoundedSite(resource, limits, reactor, proxies)
    # What stops last is what the others need to stop in good order.
    database.setServiceParent(service)
    Sessions(built.tokens).setServiceParent(service)
    for upstream in upstreams.values():
        upstream.setServiceParent(service)
    for lists in built.lists:
        lists.setServiceParent(service)
    for forwarding in built.forwardings.values():
        Reconciler(forwarding, built.equal(forwarding.upstream.name)).setServiceParent(service)
        Checkup(forwarding).setServiceParent(service)
    for broker in brokers(settings.profiles, database, vault, built.owner, now, reactor):
        broker.setServiceParent(service)
    if built.notified:
        Notifier(database, vault, built.notified, built.owner, now, reactor).setServiceParent(service)
    ShadowSummary(built.shadows, reactor).setServiceParent(service)
    identities = tuple(built.identities.values())
    Housekeeper(database, settings.store.retention, identities, built.owner, now, reactor).setServiceParent(service)
    watch = Watch(database, built.identities, built.forwardings, built.owner, now, reactor)
    watch.setServiceParent(service)
    if sockets is None:
        ports = [serverFromString(reactor, endpoint).listen for endpoint in settings.listen.scep]
    else:
        ports = [partial(_adopt, reactor, each) for each in sockets]
    Front(ports, site, resource.operations, reactor, settings.shutdown_grace).setServiceParent(service)
    if settings.listen.admin and administers:
        _administration(settings, Ground(database, vault, reactor, now)).setServiceParent(service)
    return service


def _administration(settings: model.Config, ground: Ground) -> IService:
    """The listener of the administration."""
    giver = Giver(settings.profiles, ground.database, ground.vault, ground.now, ground.pause)
    thumbprints = {
        name: settings.upstreams[profile.upstream_names[0]].ca_fingerprint[0].sha256
        for name, profile in settings.profiles.items()
    }
    routes = (
        *ChallengesAPI(giver, ground.database, ground.now).routes,
        *NdesPages(giver, thumbprints).routes,
        *MetricsPage(ground.database).routes,
    )
    resource = AdminResource(Registry(routes), partial(_find_token, ground), ground.now)
    reactor = cast(Reactor, ground.reactor)
    site = BoundedSite(resource, ADMIN_LIMITS, reactor)
    ports = [serverFromString(reactor, endpoint).listen for endpoint in settings.listen.administration]
    return Front(ports, site, resource.operations, reactor, settings.shutdown_grace)


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
