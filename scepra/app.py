"""The composition root: from a configuration to the service that twistd runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService, MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorCore, IReactorTCP, IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from scepra import policy
from scepra.challenge.none import NoChallenge
from scepra.challenge.protocol import ChallengeProvider
from scepra.challenge.static import StaticChallenge
from scepra.config import model
from scepra.errors import ConfigError, Problem
from scepra.issuance import IssuanceRules
from scepra.keys.certificate import read_certificates
from scepra.keys.identity import read_generation, read_identity
from scepra.ra import RegistrationAuthority
from scepra.renewal import RenewalRules
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Keyring
from scepra.upstream.client import Upstream, utc_now
from scepra.upstream.signer import EphemeralSelfSigned, RACertificate, UpstreamSigner
from scepra.web.limits import Limits
from scepra.web.resource import ScepResource
from scepra.web.routes import Route, Routes
from scepra.web.site import BoundedSite
from scepra.web.source import Proxies

log = Logger()

T = TypeVar("T")
R = TypeVar("R")


class Reactor(IReactorCore, IReactorTime, IReactorTCP):
    """What the RA needs of a reactor; the default one provides it."""


def assemble(settings: model.Config, reactor: Reactor, now: Callable[[], datetime] = utc_now) -> IService:
    """The whole RA as one service: keys are read here, the network is touched when it starts.

    Args:
        settings: a checked configuration.
        reactor: everything that waits, waits on it.
        now: the time of day, UTC.

    Raises:
        ConfigError: keys or certificates cannot be used, with every problem found.
    """
    service = MultiService()
    upstreams = {name: Upstream(name, upstream, reactor, now) for name, upstream in settings.upstreams.items()}
    routes = build_routes(settings, upstreams, now)
    proxies = Proxies(settings.listen.trusted_proxies)
    site = BoundedSite(ScepResource(routes, proxies), _limits(settings.limits), reactor, proxies)
    for upstream in upstreams.values():
        upstream.setServiceParent(service)
    for endpoint in settings.listen.scep:
        StreamServerEndpointService(serverFromString(reactor, endpoint), site).setServiceParent(service)
    return service


def build_routes(
    settings: model.Config,
    upstreams: Mapping[str, Upstream],
    now: Callable[[], datetime] = utc_now,
    slowly: Callable[..., Awaitable[Any]] = deferToThread,
) -> Routes:
    """The authorities of all profiles, and where they are served.

    Args:
        upstreams: the upstreams of the configuration, by name.
        slowly: calls a function with its arguments where it may take its time.

    Raises:
        ConfigError: as for :func:`assemble`.
    """
    problems: list[Problem] = []
    signers = {
        name: signer
        for name, each in settings.upstreams.items()
        if (signer := _read(partial(_signer, slowly), each, problems))
    }
    generations = {
        name: read
        for name, profile in settings.profiles.items()
        if (read := _read(read_generation, profile.ra, problems))
    }
    infrastructure = frozenset(
        identity.certificate for read in generations.values() for identity in (read.signing, read.encryption)
    )
    anchors = {
        name: _read(_anchors, profile.renewal, problems) or ()
        for name, profile in settings.profiles.items()
        if profile.renewal is not None
    }
    if problems:
        raise ConfigError(tuple(problems))
    for kind, sections in (("upstream", settings.upstreams), ("profile", settings.profiles)):
        for name, section in sections.items():
            if section.legacy:
                broken = ", ".join(section.legacy)
                log.warn("{kind} {name} accepts what is broken: {broken}", kind=kind, name=name, broken=broken)
    return Routes(
        Route(
            RegistrationAuthority(
                name,
                profile,
                settings.upstreams[profile.upstream],
                Keyring([generations[name]]),
                provider(profile),
                policy.build(profile.policy),
                _renewal(profile.renewal, anchors[name], infrastructure) if profile.renewal is not None else None,
                upstreams[profile.upstream],
                signers[profile.upstream],
                IssuanceRules(frozenset(settings.upstreams[profile.upstream].tolerate)),
                now,
            ),
            profile.paths,
            profile.ca_identifiers,
        )
        for name, profile in settings.profiles.items()
    )


def _read(reader: Callable[[T], R], what: T, problems: list[Problem]) -> R | None:
    """What a reader of files returns, or None with its problems noted."""
    try:
        return reader(what)
    except ConfigError as error:
        problems += error.problems
        return None


def _limits(limits: model.Limits) -> Limits:
    return Limits(
        request_target=limits.request_target,
        headers=limits.headers,
        header_lines=limits.header_lines,
        body=limits.body,
        request_deadline=limits.request_deadline,
        idle=limits.idle,
        answer=limits.answer_deadline,
        connections=limits.connections,
        connections_per_address=limits.connections_per_address,
        requests_per_connection=limits.requests_per_connection,
        reserved_descriptors=limits.reserved_descriptors,
    )


def _signer(slowly: Callable[..., Awaitable[Any]], upstream: model.Upstream) -> UpstreamSigner:
    strategy = upstream.signer
    if isinstance(strategy, model.CertificateSigner):
        return RACertificate(read_identity(strategy))
    make_key = partial(slowly, rsa.generate_private_key, 65537, strategy.key_bits)
    return EphemeralSelfSigned(make_key, timedelta(seconds=strategy.period))


def provider(profile: model.Profile) -> ChallengeProvider:
    """What judges the challenges of a profile."""
    challenge = profile.challenge
    return StaticChallenge(challenge.secret.reveal()) if isinstance(challenge, model.StaticChallenge) else NoChallenge()


def _anchors(renewal: model.Renewal) -> tuple[Certificate, ...]:
    return tuple(certificate for path in renewal.trust for certificate in read_certificates(path))


def _renewal(
    renewal: model.Renewal, anchors: tuple[Certificate, ...], infrastructure: frozenset[Certificate]
) -> RenewalRules:
    return RenewalRules(
        anchors,
        timedelta(seconds=renewal.window),
        timedelta(seconds=renewal.grace),
        fewer_names=renewal.names == "same-or-fewer",
        same_key=renewal.same_key == "allow",
        sha1=renewal.sha1 == "allow",
        infrastructure=infrastructure,
    )
