"""What one configuration makes of an RA: all that is replaced when another one is taken (FT-51)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from scepra.config import model
from scepra.construction import Built, build
from scepra.generations import Generations
from scepra.ground import Ground
from scepra.health import Checkup
from scepra.housekeeper import Housekeeper
from scepra.ndes.broker import Broker, brokers
from scepra.notifier import Notifier
from scepra.reconciler import Reconciler
from scepra.shadow import ShadowSummary
from scepra.succession import StoredSuccessions
from scepra.upstream.client import Upstream
from scepra.watch import Watch
from scepra.web.admin.challenges import ChallengesAPI
from scepra.web.admin.giver import Giver
from scepra.web.admin.metrics import MetricsPage
from scepra.web.admin.ndes import NdesPages
from scepra.web.admin.route import Registry
from scepra.web.source import Proxies

log = Logger()

FIRST_LOOK = 10.0
"""How long, in seconds, it is waited for CAs that are new or otherwise configured, before requests are led to them."""


@dataclass(frozen=True, slots=True)
class Works:
    """Everything between the ports and the store, made of ``settings``, whose file had this ``version``.

    ``services`` work beside the requests, by names that say what each is about, in the order in which they start; who
    follows another starts when that one has ended. ``registry`` is what the administration serves.
    """

    version: str
    settings: model.Config
    built: Built
    upstreams: Mapping[str, Upstream]
    proxies: Proxies
    registry: Registry
    services: Mapping[str, Service]

    async def look(self, before: Works) -> None:
        """Have the first look at each CA that was not known before; one that does not answer is no reason not to go on,
        as it is none at the start."""
        ground = next(iter(self.built.forwardings.values())).reactor
        fresh = [each for name, each in self.upstreams.items() if before.upstreams.get(name) is not each]
        if fresh:
            looks = [each.discover() for each in fresh]
            waiting = DeferredList([Deferred.fromCoroutine(each) for each in looks], consumeErrors=True)
            # What comes of it is logged by the upstream.
            await waiting.addTimeout(FIRST_LOOK, ground).addErrback(lambda failure: None)


def erect(
    version: str, settings: model.Config, ground: Ground, processes: int = 1, before: Works | None = None
) -> Works:
    """Make everything of a configuration of this version; nothing of it works yet.

    What *before* has the same is taken from there, with all that it has found out: above all a CA whose section has not
    changed, so that nobody waits for what is known.

    Raises:
        ConfigError: as for :func:`scepra.construction.build`.
    """
    known = before.settings.upstreams if before is not None else {}
    upstreams = {
        name: before.upstreams[name]
        if before is not None and known.get(name) == each
        else Upstream(name, each, ground.reactor, ground.now, successions=StoredSuccessions(name, ground.database))
        for name, each in settings.upstreams.items()
    }
    built = build(settings, upstreams, ground, processes, before.built if before is not None else None)
    proxies = Proxies(settings.listen.trusted_proxies)
    services = _services(settings, ground, built, upstreams)
    for name, service in services.items():
        if (
            isinstance(service, Broker)
            and before is not None
            and isinstance(rested := before.services.get(name), Broker)
        ):
            service.succeed(rested)
    return Works(version, settings, built, upstreams, proxies, _registry(settings, ground), services)


def _services(
    settings: model.Config, ground: Ground, built: Built, upstreams: Mapping[str, Upstream]
) -> dict[str, Service]:
    database, vault, owner, now, reactor = ground.database, ground.vault, built.owner, ground.now, ground.reactor
    services: dict[str, Service] = {f"upstream {name}": each for name, each in upstreams.items()}
    services |= {f"lists {number}": each for number, each in enumerate(built.lists)}
    for each in dict.fromkeys(built.identities.values()):
        if isinstance(each, Generations):
            services[f"generations {each.settings.directory}"] = each
    for regeneration in built.regenerations:
        services[f"renewal {regeneration.path}"] = regeneration
    for name, forwarding in built.forwardings.items():
        services[f"backlog {name}"] = Reconciler(forwarding, built.equal(name))
        services[f"checkup {name}"] = Checkup(forwarding)
    for broker in brokers(settings.profiles, database, vault, owner, now, reactor):
        services[f"broker {broker.origin}"] = broker
    if built.notified:
        services["notices"] = Notifier(database, vault, built.notified, owner, now, reactor)
    services["shadows"] = ShadowSummary(built.shadows, reactor)
    identities = tuple(built.identities.values())
    services["house"] = Housekeeper(database, settings.store.retention, identities, owner, now, reactor)
    services["watch"] = Watch(database, built.identities, built.forwardings, owner, now, reactor)
    return services


def _registry(settings: model.Config, ground: Ground) -> Registry:
    """What the administration serves."""
    giver = Giver(settings.profiles, ground.database, ground.vault, ground.now, ground.pause)
    thumbprints = {
        name: settings.upstreams[profile.upstream_names[0]].ca_fingerprint[0].sha256
        for name, profile in settings.profiles.items()
    }
    return Registry(
        (
            *ChallengesAPI(giver, ground.database, ground.now).routes,
            *NdesPages(giver, thumbprints).routes,
            *MetricsPage(ground.database).routes,
        )
    )


class Beside(MultiService):
    """The services that work beside the requests, as one: those of one configuration after the other's.

    What both have goes on. What only the old one has ends, and what takes its place starts when it has.
    """

    def __init__(self, works: Works) -> None:
        super().__init__()
        self._ending: set[Deferred[None]] = set()
        # Those that wait for the end of whom they follow.
        self._waiting: dict[Service, Deferred[None]] = {}
        for each in works.services.values():
            each.setServiceParent(self)

    def replace(self, before: Works, after: Works) -> None:
        """Go on with other services."""
        kept = set(map(id, before.services.values())) & set(map(id, after.services.values()))
        ending: dict[str, Deferred[None]] = {}
        for name, service in before.services.items():
            if id(service) not in kept:
                ending[name] = self._end(service)
        for name, service in after.services.items():
            if id(service) in kept:
                continue
            if name in ending:
                self._waiting[service] = ending[name]
                ending[name].addCallback(partial(self._follow, service))
            else:
                service.setServiceParent(self)

    def _follow(self, service: Service, _: None) -> None:
        # It may have been replaced before it was its turn.
        if self._waiting.pop(service, None) is not None:
            service.setServiceParent(self)

    def stopService(self) -> Deferred[None]:
        """End all, those too that are ending already."""
        return DeferredList([maybeDeferred(super().stopService), *self._ending]).addCallback(lambda _: None)

    def _end(self, service: Service) -> Deferred[None]:
        if (never := self._waiting.pop(service, None)) is not None:
            return never
        ended: Deferred[None] = Deferred()
        self._ending.add(ended)

        def done(outcome: object) -> None:
            self._ending.discard(ended)
            if isinstance(outcome, Failure):
                log.failure("{service} did not end as it should", outcome, service=type(service).__name__)
            ended.callback(None)

        maybeDeferred(service.disownServiceParent).addBoth(done)
        return ended
