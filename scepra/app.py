"""The composition root: from a configuration to the service that twistd runs."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from socket import socket
from typing import Any, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric import rsa
from treq.client import HTTPClient
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IListeningPort, IReactorCore, IReactorSocket, IReactorTCP, IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from scepra import minting, policy
from scepra.admission import Admission
from scepra.challenge.certificate import CertificateOrChallenge
from scepra.challenge.combined import AllOf, AnyOf
from scepra.challenge.directory import DirectoryChallenge
from scepra.challenge.intune import IntuneChallenge
from scepra.challenge.minted import MintedChallenge
from scepra.challenge.none import NoChallenge
from scepra.challenge.protocol import ChallengeProvider, Notified
from scepra.challenge.service import Service as Asked
from scepra.challenge.static import StaticChallenge
from scepra.challenge.webhook import WebhookChallenge
from scepra.config import model
from scepra.config.policyfile import load_policy
from scepra.errors import ConfigError, Problem, StoreError
from scepra.forwarding import Forwarding
from scepra.housekeeper import Housekeeper
from scepra.http.agent import http_client
from scepra.http.breaker import Breaker
from scepra.http.connection import Limits as HTTPLimits
from scepra.http.request import Origin
from scepra.issuance import IssuanceRules
from scepra.keys.certificate import read_certificates
from scepra.keys.identity import read_generation, read_identity
from scepra.ndes.broker import brokers
from scepra.notifier import Notifier
from scepra.ra import RegistrationAuthority
from scepra.reconciler import Reconciler
from scepra.revocation import FileSource, RevocationLists, Source, WebSource
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Keyring
from scepra.shadow import Shadow, ShadowSummary
from scepra.signing import StoredKeys
from scepra.store import challenges, tokens
from scepra.store.challenges import Challenge
from scepra.store.database import Database, ThreadedDatabase
from scepra.store.engine import create_engine, create_file
from scepra.store.owner import new_owner
from scepra.store.schema import Migration, Newer
from scepra.store.vault import Vault, read_vault
from scepra.trust import Trust, anchor_files
from scepra.upstream.client import Upstream, utc_now
from scepra.upstream.signer import EphemeralSelfSigned, RACertificate, UpstreamSigner
from scepra.web.admin.challenges import ChallengesAPI
from scepra.web.admin.giver import Giver
from scepra.web.admin.ndes import NdesPages
from scepra.web.admin.resource import AdminResource
from scepra.web.admin.route import Registry
from scepra.web.drain import Front
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.site import BoundedSite
from scepra.web.source import Proxies

log = Logger()

SIGNER_MARGIN = timedelta(days=7)
"""How long a certificate that signs to a CA is valid beyond the longest that a request may wait."""
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
    vault = _read(read_vault, settings.store.key_file, problems)
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
    upstreams = {name: Upstream(name, upstream, reactor, now) for name, upstream in settings.upstreams.items()}
    processes = 1 if sockets is None else settings.processes
    built = build(settings, upstreams, Ground(database, vault, reactor, now), processes)
    proxies = Proxies(settings.listen.trusted_proxies)
    resource = ScepResource(built.routes, proxies)
    limits = _limits(settings.limits, processes)
    site = BoundedSite(resource, limits, reactor, proxies)
    # What stops last is what the others need to stop in good order.
    database.setServiceParent(service)
    for upstream in upstreams.values():
        upstream.setServiceParent(service)
    for lists in built.lists:
        lists.setServiceParent(service)
    for forwarding in built.forwardings.values():
        Reconciler(forwarding).setServiceParent(service)
    for broker in brokers(settings.profiles, database, vault, built.owner, now, reactor):
        broker.setServiceParent(service)
    if built.notified:
        Notifier(database, vault, built.notified, built.owner, now, reactor).setServiceParent(service)
    ShadowSummary(built.shadows, reactor).setServiceParent(service)
    Housekeeper(database, settings.store.retention, built.keyrings, built.owner, now, reactor).setServiceParent(service)
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
    giver = Giver(settings.profiles, ground.database, ground.vault, ground.now, _pause(ground))
    thumbprints = {
        name: settings.upstreams[profile.upstream].ca_fingerprint[0].sha256
        for name, profile in settings.profiles.items()
    }
    routes = (
        *ChallengesAPI(giver, ground.database, ground.now).routes,
        *NdesPages(giver, thumbprints).routes,
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


@dataclass(frozen=True, slots=True)
class Ground:
    """What everything in a process stands on.

    Attributes:
        database, vault: the store, and what seals things in it.
        reactor: the clock that nobody sets.
        now: the time of day, UTC.
        slowly: calls a function with its arguments where it may take its time.
        pause: waits for so many seconds.
        outside: makes the way to a URL, in place of one over the reactor.
    """

    database: Database
    vault: Vault
    reactor: IReactorTime
    now: Callable[[], datetime] = utc_now
    slowly: Callable[..., Awaitable[Any]] = deferToThread
    pause: Callable[[float], Awaitable[object]] | None = None
    outside: Callable[..., HTTPClient] | None = None

    def client(self, url: str, limits: HTTPLimits, *, socket: str | None = None) -> HTTPClient:
        """The way to a URL of the configuration that is no CA's; by a UNIX socket, where one is named."""
        if self.outside is not None:
            return self.outside(url, limits) if socket is None else self.outside(url, limits, socket=socket)
        return http_client(self.reactor, url, limits, socket=socket)


@dataclass(frozen=True, slots=True)
class Built:
    """The authorities of all profiles and where they are served; the ways to the CAs, by their names; the identities of
    all profiles; the name of this process in leases; the revocation lists that are kept; the providers that want
    notices, by the names of their profiles and their kinds; the policies that are tried beside the enforced ones."""

    routes: Routes
    forwardings: Mapping[str, Forwarding]
    keyrings: tuple[Keyring, ...]
    owner: str
    lists: tuple[RevocationLists, ...]
    notified: Mapping[tuple[str, str], Notified]
    shadows: tuple[Shadow, ...]


def build(settings: model.Config, upstreams: Mapping[str, Upstream], ground: Ground, processes: int = 1) -> Built:
    """Everything between the network and the store.

    Args:
        upstreams: the upstreams of the configuration, by name.
        processes: how many there are that serve clients, of which this is one.

    Raises:
        ConfigError: as for :func:`assemble`.
    """
    problems: list[Problem] = []
    owner = new_owner()
    signers = {
        name: signer
        for name, each in settings.upstreams.items()
        if (signer := _read(partial(_signer, ground, name, _longest(settings, name)), each, problems))
    }
    generations = {
        name: read
        for name, profile in settings.profiles.items()
        if (read := _read(read_generation, profile.ra, problems))
    }
    infrastructure = frozenset(
        identity.certificate for read in generations.values() for identity in (read.signing, read.encryption)
    ) | {signer.own.certificate for signer in signers.values() if isinstance(signer, RACertificate)}
    files = {path: _read(read_certificates, path, problems) or () for path in anchor_files(settings.profiles.values())}
    shadows = {
        name: Shadow(name, policy.build(second), policy.version(second), ground.reactor.seconds)
        for name, profile in settings.profiles.items()
        if profile.shadow is not None and (second := _read(load_policy, profile.shadow, problems)) is not None
    }
    if problems:
        raise ConfigError(tuple(problems))
    for kind, sections in (("upstream", settings.upstreams), ("profile", settings.profiles)):
        for name, section in sections.items():
            if section.legacy:
                broken = ", ".join(section.legacy)
                log.warn("{kind} {name} accepts what is broken: {broken}", kind=kind, name=name, broken=broken)
    trust = Trust(files, infrastructure, partial(_lists, ground))
    providers = {
        name: _read(partial(providers_of, ground, trust, name), profile.challenge, problems)
        for name, profile in settings.profiles.items()
    }
    if problems:
        raise ConfigError(tuple(problems))
    for name, profile in settings.profiles.items():
        if profile.observe:
            log.warn("profile {name} ENFORCES NO POLICY (observe): what it objects to is recorded only", name=name)
    identities = {name: Keyring([generation]) for name, generation in generations.items()}
    keyrings = tuple(identities.values())
    forwardings = {
        name: Forwarding(
            each,
            upstreams[name],
            signers[name],
            IssuanceRules(frozenset(each.tolerate)),
            {
                served: _rules(profile, policy.build_issued(profile.policy, each.tolerate))
                for served, profile in settings.profiles.items()
                if profile.upstream == name
            },
            keyrings,
            ground.database,
            ground.vault,
            owner,
            ground.now,
            ground.reactor,
        )
        for name, each in settings.upstreams.items()
    }
    admission = Admission(settings.rates, ground.reactor.seconds, processes)
    routes = Routes(
        Route(
            _authority(
                profile,
                identities[name],
                combined(profile.challenge, providers[name] or ()),
                forwardings[profile.upstream],
                admission,
                ground,
                trust,
                name,
                shadows.get(name),
            ),
            profile.paths,
            profile.ca_identifiers,
        )
        for name, profile in settings.profiles.items()
    )
    notified = {
        (name, each.kind): each
        for name, several in providers.items()
        for each in several or ()
        if isinstance(each, Notified)
    }
    return Built(routes, forwardings, keyrings, owner, tuple(trust.lists.values()), notified, tuple(shadows.values()))


def _authority(
    profile: model.Profile,
    keyring: Keyring,
    provider: ChallengeProvider,
    forwarding: Forwarding,
    admission: Admission,
    ground: Ground,
    trust: Trust,
    name: str,
    shadow: Shadow | None,
) -> RegistrationAuthority:
    renewal = profile.renewal
    lists = trust.revocation(name, renewal.trust, renewal.crl) if renewal is not None else None
    return RegistrationAuthority(
        name,
        profile,
        keyring,
        provider,
        _rules(profile, policy.build(profile.policy)),
        policy.version(profile.policy),
        trust.renewal(name, renewal) if renewal is not None else None,
        forwarding,
        admission,
        _pause(ground),
        trust.agents(profile.on_behalf),
        trust.manufacturers(profile.challenge),
        lists.standing if lists is not None else None,
        shadow,
    )


def _rules(profile: model.Profile, rules: policy.Rules) -> policy.Rules:
    """Rules of a profile, enforced or only observed."""
    return policy.observing(rules) if profile.observe else rules


def _pause(ground: Ground) -> Callable[[float], Awaitable[object]]:
    return ground.pause or partial(deferLater, ground.reactor)


def _lost(reactor: Reactor, error: StoreError) -> None:
    """Stop: what would be written from now on, nobody would ever read (FT-35)."""
    log.critical("{error}: stopping", error=error.reason)
    # After everything else has ended; the exit status says that it was not asked to.
    reactor.addSystemEventTrigger("after", "shutdown", os._exit, LOST)
    # It may be stopping already: the master tells all workers to when the first has noticed.
    with suppress(ReactorNotRunning):
        reactor.stop()


def _read(reader: Callable[[T], R], what: T, problems: list[Problem]) -> R | None:
    """What a reader of files returns, or None with its problems noted."""
    try:
        return reader(what)
    except ConfigError as error:
        problems += error.problems
        return None


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


def _longest(settings: model.Config, upstream: str) -> float:
    """How long a request for an upstream may wait, for people and for the CA, in seconds."""
    holds = [
        patience
        for profile in settings.profiles.values()
        for rule in profile.policy
        if profile.upstream == upstream and (patience := rule.patience) is not None
    ]
    holds += [
        each.hold_expires
        for profile in settings.profiles.values()
        for each in model.singles(profile.challenge)
        if profile.upstream == upstream and isinstance(each, model.WebhookChallenge)
    ]
    return settings.upstreams[upstream].queue.give_up_after + max(holds, default=0.0)


def _signer(ground: Ground, name: str, patience: float, upstream: model.Upstream) -> UpstreamSigner:
    strategy = upstream.signer
    if isinstance(strategy, model.CertificateSigner):
        return RACertificate(read_identity(strategy))
    make_key = partial(ground.slowly, rsa.generate_private_key, 65537, strategy.key_bits)
    keys = StoredKeys(name, make_key, ground.database, ground.vault, ground.now)
    return EphemeralSelfSigned(keys, timedelta(seconds=strategy.period), timedelta(seconds=patience) + SIGNER_MARGIN)


def providers_of(ground: Ground, trust: Trust, name: str, challenge: model.Challenge) -> tuple[ChallengeProvider, ...]:
    """What judges the challenges of the profile *name*, each kind by itself.

    Raises:
        ConfigError: a file that one of them needs cannot be used.
    """
    by_name = isinstance(challenge, model.AllOf)
    return tuple(_provider(ground, trust, name, each, by_name) for each in model.singles(challenge))


def combined(challenge: model.Challenge, providers: Sequence[ChallengeProvider]) -> ChallengeProvider:
    """What they are together."""
    match challenge:
        case model.AnyOf():
            made = tuple(zip(challenge.providers, providers, strict=True))
            certificates = [judge for each, judge in made if isinstance(each, model.CertificateChallenge)]
            others = [judge for each, judge in made if not isinstance(each, model.CertificateChallenge)]
            if certificates and others:
                return CertificateOrChallenge(certificates, others)
            return AnyOf(certificates or others)
        case model.AllOf():
            return AllOf(providers)
        case _:
            return providers[0]


def _provider(
    ground: Ground, trust: Trust, name: str, challenge: model.SingleChallenge | model.NoChallenge, by_name: bool
) -> ChallengeProvider:
    match challenge:
        case model.StaticChallenge():
            return StaticChallenge(challenge.secret.reveal())
        case model.MintedChallenge():
            return MintedChallenge(partial(_find_challenge, ground))
        case model.NdesChallenge():
            return MintedChallenge(partial(_find_challenge, ground), challenge.broker)
        case model.CertificateChallenge():
            return trust.manufacturer(name, challenge)
        case model.SignedChallenge():
            # Here, since it needs what an extra brings.
            from scepra.challenge.signed import SignedChallenge

            return SignedChallenge(challenge)
        case model.WebhookChallenge():
            return WebhookChallenge(
                challenge, _origin(ground, challenge, challenge.url), _asked(ground, challenge), ground.now
            )
        case model.IntuneChallenge():
            origin = partial(_origin, ground, challenge)
            return IntuneChallenge(challenge, origin, _asked(ground, challenge), ground.reactor)
        case model.DirectoryChallenge():
            return DirectoryChallenge(
                challenge.file, ground.vault.digest, ground.reactor, ground.slowly, by_name=by_name
            )
        case model.NoChallenge():
            return NoChallenge()


def _origin(ground: Ground, asked: model.WebhookChallenge | model.IntuneChallenge, url: str) -> Origin:
    """The way to somebody who is asked about challenges."""
    limits = HTTPLimits(asked.connect_timeout, asked.timeout)
    if url.startswith("unix:"):
        client = ground.client("http://localhost/", limits, socket=url.removeprefix("unix:"))
    else:
        client = ground.client(url, limits)
    return Origin(client, ground.reactor, asked.answer)


def _asked(ground: Ground, asked: model.WebhookChallenge | model.IntuneChallenge) -> Asked:
    """What keeps from asking too much."""
    return Asked(asked.type, Breaker(ground.reactor, asked.retry_after), asked.concurrency)


async def _find_challenge(ground: Ground, challenge: str) -> Challenge | None:
    """What the store keeps of a challenge that a request carries."""
    return await ground.database.read(challenges.find, minting.digest(ground.vault, challenge))


def _lists(
    ground: Ground,
    name: str,
    anchors: tuple[Certificate, ...],
    settings: model.RevocationLists,
    digests: frozenset[Digest],
) -> RevocationLists:
    """The revocation lists of some CAs, from where the configuration says."""
    limits = HTTPLimits(total=settings.timeout)
    sources: list[Source] = [
        *(WebSource(url, Origin(ground.client(url, limits), ground.reactor, settings.size)) for url in settings.urls),
        *(FileSource(path, ground.slowly, settings.size) for path in settings.files),
    ]
    return RevocationLists(
        name,
        anchors,
        sources,
        digests=digests,
        unknown=settings.unknown,
        refresh=settings.refresh,
        now=ground.now,
        reactor=ground.reactor,
        slowly=ground.slowly,
    )
