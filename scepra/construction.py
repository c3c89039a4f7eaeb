"""The authorities of all profiles, from the configuration: everything between the network and the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.logger import Logger

from scepra import policy
from scepra.acquisition import Acquisition
from scepra.admission import Admission
from scepra.challenge.protocol import ChallengeProvider, Notified
from scepra.config import model
from scepra.config.listurl import is_directory, parse_list_url
from scepra.config.policyfile import load_policy
from scepra.conversation import Conversation
from scepra.errors import ConfigError, Problem
from scepra.forwarding import Forwarding
from scepra.generations import Generations, OwnCertificates
from scepra.ground import Ground
from scepra.http.connection import Limits as HTTPLimits
from scepra.http.request import Origin
from scepra.issuance import IssuanceRules
from scepra.keys.certificate import read_certificates
from scepra.keys.hands import Hands
from scepra.keys.identity import read_generation, read_identity
from scepra.keys.token import Tokens
from scepra.listsource import FileSource, LdapSource, Source, WebSource
from scepra.provenance import Revocation
from scepra.providers import combined, providers_of
from scepra.query import Queries
from scepra.ra import RegistrationAuthority
from scepra.regeneration import Regeneration
from scepra.revocation import RevocationLists
from scepra.scep.certificate import Certificate
from scepra.scep.identity import FixedIdentities, Identities, Keyring
from scepra.shadow import Shadow
from scepra.signing import StoredKeys
from scepra.store.owner import new_owner
from scepra.trust import Trust, anchor_files
from scepra.upstream.client import Upstream
from scepra.upstream.signer import EphemeralSelfSigned, RACertificate, UpstreamSigner
from scepra.ways import Ways
from scepra.web.routes import Route, Routes

log = Logger()

SIGNER_MARGIN = timedelta(days=7)
"""How long a certificate that signs to a CA is valid beyond the longest that a request may wait."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Built:
    """The authorities of all profiles and where they are served; their ways to the CAs, by their names; all ways to the
    CAs, by those names; the identities of all profiles, by their names; what renews them; the name of this process in
    leases; the revocation lists that are kept; the providers that want notices, by the names of their profiles and
    their kinds; the policies that are tried beside the enforced ones; the tokens with keys. ``settings`` is what all of
    it was made of; ``admission``, ``signers`` and ``kept`` lists, by their CAs and settings, are there for whoever
    comes after this."""

    routes: Routes
    ways: Mapping[str, Ways]
    forwardings: Mapping[str, Forwarding]
    identities: Mapping[str, Identities]
    regenerations: tuple[Regeneration, ...]
    owner: str
    lists: tuple[RevocationLists, ...]
    notified: Mapping[tuple[str, str], Notified]
    shadows: tuple[Shadow, ...]
    tokens: Tokens
    settings: model.Config
    admission: Admission
    signers: Mapping[str, UpstreamSigner]
    kept: Mapping[tuple[tuple[Certificate, ...], model.ListSources], RevocationLists]

    def equal(self, upstream: str) -> dict[str, tuple[Forwarding, ...]]:
        """The ways to the CAs that are equal to one, by the names of the profiles for which they are."""
        return {name: ways.equal(upstream) for name, ways in self.ways.items()}


def build(
    settings: model.Config,
    upstreams: Mapping[str, Upstream],
    ground: Ground,
    processes: int = 1,
    before: Built | None = None,
) -> Built:
    """Everything between the network and the store.

    Args:
        upstreams: the upstreams of the configuration, by name.
        processes: how many there are that serve clients, of which this is one.
        before: what this process went by so far: what would be made the same is taken from there, with what it knows.

    Raises:
        ConfigError: as for :func:`assemble`.
    """
    problems: list[Problem] = []
    owner = before.owner if before is not None else new_owner()
    tokens = before.tokens if before is not None else Tokens(settings.tokens, ground.reactor, patient=True)
    hands = Hands(ground.slowly)
    signers = {
        name: signer
        for name, each in settings.upstreams.items()
        if (signer := read_noting(partial(_signer, ground, tokens, settings, before, name), each, problems))
    }
    identities, regenerations = _identities(settings, upstreams, ground, tokens, hands, before, problems)
    every = tuple(dict.fromkeys(identities.values()))
    infrastructure = OwnCertificates(
        frozenset(signer.own.certificate for signer in signers.values() if isinstance(signer, RACertificate)), every
    )
    files = {
        path: read_noting(read_certificates, path, problems) or () for path in anchor_files(settings.profiles.values())
    }
    shadows = {
        name: Shadow(name, policy.build(second), policy.version(second), ground.reactor.seconds)
        for name, profile in settings.profiles.items()
        if profile.shadow is not None and (second := read_noting(load_policy, profile.shadow, problems)) is not None
    }
    if problems:
        raise ConfigError(tuple(problems))
    for kind, sections in (("upstream", settings.upstreams), ("profile", settings.profiles)):
        for name, section in sections.items():
            if section.legacy:
                broken = ", ".join(section.legacy)
                log.warn("{kind} {name} accepts what is broken: {broken}", kind=kind, name=name, broken=broken)
    # Lists count by what is known of these CAs, so others make others.
    same = before if before is not None and before.settings.upstreams == settings.upstreams else None
    trust = Trust(files, infrastructure, partial(_lists, ground, upstreams, same))
    providers = {
        name: read_noting(partial(providers_of, ground, trust, name), profile.challenge, problems)
        for name, profile in settings.profiles.items()
    }
    if problems:
        raise ConfigError(tuple(problems))
    for name, profile in settings.profiles.items():
        if profile.observe:
            log.warn("profile {name} ENFORCES NO POLICY (observe): what it objects to is recorded only", name=name)
    forwardings = {
        name: Forwarding(
            each,
            upstreams[name],
            signers[name],
            IssuanceRules(frozenset(each.tolerate)),
            {
                served: _rules(profile, policy.build_issued(profile.policy, each.tolerate))
                for served, profile in settings.profiles.items()
                if name in profile.upstream_names
            },
            every,
            ground.database,
            ground.vault,
            owner,
            ground.now,
            ground.reactor,
            {
                served: _rules(profile, policy.build(profile.policy))
                for served, profile in settings.profiles.items()
                if name in profile.upstream_names
            },
            hands,
        )
        for name, each in settings.upstreams.items()
    }
    ways = {name: Ways.of(profile, forwardings) for name, profile in settings.profiles.items()}
    admission = Admission(settings.rates, ground.reactor.seconds, processes)
    if before is not None and before.settings.rates == settings.rates:
        admission = before.admission
    routes = Routes(
        Route(
            _authority(
                profile,
                identities[name],
                combined(profile.challenge, providers[name] or ()),
                ways[name],
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
    lists, tried = tuple(trust.lists.values()), tuple(shadows.values())
    return Built(
        routes,
        ways,
        forwardings,
        identities,
        regenerations,
        owner,
        lists,
        notified,
        tried,
        tokens,
        settings,
        admission,
        signers,
        dict(trust.lists),
    )


def _identities(
    settings: model.Config,
    upstreams: Mapping[str, Upstream],
    ground: Ground,
    tokens: Tokens,
    hands: Hands,
    before: Built | None,
    problems: list[Problem],
) -> tuple[dict[str, Identities], tuple[Regeneration, ...]]:
    """The identities of all profiles, and what renews those that the RA keeps itself; what is wrong is noted."""
    identities: dict[str, Identities] = {}
    known = {
        each.settings.directory: each
        for each in (before.identities.values() if before is not None else ())
        if isinstance(each, Generations)
    }
    kept: dict[Path, Generations] = {}
    regenerations = []
    for name, profile in settings.profiles.items():
        ra = profile.ra
        if not isinstance(ra, model.GenerationDirectory):
            if read := read_noting(partial(read_generation, tokens=tokens), ra, problems):
                identities[name] = FixedIdentities(Keyring([read]))
            continue
        if ra.directory not in kept:
            make = partial(Generations, now=ground.now, reactor=ground.reactor, slowly=ground.slowly, tokens=tokens)
            found = known.get(ra.directory)
            if found is None or found.settings != ra:
                found = read_noting(make, ra, problems)
            if found is None:
                continue
            kept[ra.directory] = found
            upstream, at = upstreams[profile.certifier], settings.upstreams[profile.certifier]
            conversation = Conversation(at, upstream, hands)
            acquisition = Acquisition(ra, found.store, conversation, ground.now, ground.slowly)
            regenerations.append(Regeneration(ra, found, acquisition, upstream, ground.now, ground.reactor))
        identities[name] = kept[ra.directory]
    return identities, tuple(regenerations)


def _authority(
    profile: model.Profile,
    identities: Identities,
    provider: ChallengeProvider,
    ways: Ways,
    admission: Admission,
    ground: Ground,
    trust: Trust,
    name: str,
    shadow: Shadow | None,
) -> RegistrationAuthority:
    renewal = profile.renewal
    lists = trust.revocation(name, renewal.trust, renewal.crl) if renewal is not None else None
    revocation = lists.standing if lists is not None else None
    return RegistrationAuthority(
        name,
        profile,
        identities,
        provider,
        _rules(profile, policy.build(profile.policy)),
        policy.version(profile.policy),
        trust.renewal(name, renewal) if renewal is not None else None,
        ways,
        admission,
        ground.pause,
        trust.agents(profile.on_behalf),
        trust.manufacturers(profile.challenge),
        revocation,
        shadow,
        _queries(profile.queries, trust, name, revocation) if profile.queries is not None else None,
    )


def _queries(
    settings: model.Queries,
    trust: Trust,
    name: str,
    revocation: Callable[[Certificate], Awaitable[Revocation]] | None,
) -> Queries:
    """What a profile answers besides enrolments."""
    lists = trust.revocation(name, settings.crl.trust, settings.crl) if settings.crl is not None else None
    return Queries(name, settings, revocation, lists, trust.infrastructure)


def _rules(profile: model.Profile, rules: policy.Rules) -> policy.Rules:
    """Rules of a profile, enforced or only observed."""
    return policy.observing(rules) if profile.observe else rules


def read_noting(reader: Callable[[T], R], what: T, problems: list[Problem]) -> R | None:
    """What a reader of files returns, or None with its problems noted."""
    try:
        return reader(what)
    except ConfigError as error:
        problems += error.problems
        return None


def _longest(settings: model.Config, upstream: str) -> float:
    """How long a request for an upstream may wait, for people and for the CA, in seconds."""
    holds = [
        patience
        for profile in settings.profiles.values()
        for rule in profile.policy
        if upstream in profile.upstream_names and (patience := rule.patience) is not None
    ]
    holds += [
        each.hold_expires
        for profile in settings.profiles.values()
        for each in model.singles(profile.challenge)
        if upstream in profile.upstream_names and isinstance(each, model.WebhookChallenge)
    ]
    return settings.upstreams[upstream].queue.give_up_after + max(holds, default=0.0)


def _signer(
    ground: Ground, tokens: Tokens, settings: model.Config, before: Built | None, name: str, upstream: model.Upstream
) -> UpstreamSigner:
    strategy, patience = upstream.signer, _longest(settings, name)
    if isinstance(strategy, model.CertificateSigner):
        return RACertificate(read_identity(strategy, tokens))
    if (
        before is not None
        and name in before.signers
        and (before.settings.upstreams[name].signer, _longest(before.settings, name)) == (strategy, patience)
    ):
        return before.signers[name]
    make_key = partial(ground.slowly, rsa.generate_private_key, 65537, strategy.key_bits)
    keys = StoredKeys(name, make_key, ground.database, ground.vault, ground.now)
    return EphemeralSelfSigned(keys, timedelta(seconds=strategy.period), timedelta(seconds=patience) + SIGNER_MARGIN)


def _lists(
    ground: Ground,
    upstreams: Mapping[str, Upstream],
    before: Built | None,
    name: str,
    anchors: tuple[Certificate, ...],
    settings: model.ListSources,
) -> RevocationLists:
    """The revocation lists of some CAs, from where the configuration says."""
    known = before.kept.get((anchors, settings)) if before is not None else None
    if known is not None:
        return known
    sources = [
        *(_source(ground, url, settings) for url in settings.urls),
        *(FileSource(path, ground.slowly, settings.size) for path in settings.files),
    ]
    return RevocationLists(
        name,
        anchors,
        sources,
        digests=settings.digests,
        unknown=settings.unknown if isinstance(settings, model.RevocationLists) else "retry",
        refresh=settings.refresh,
        now=ground.now,
        reactor=ground.reactor,
        slowly=ground.slowly,
        served=isinstance(settings, model.ServedLists),
        lineages=lambda: (each.view.lineage for each in upstreams.values() if each.view is not None),
    )


def _source(ground: Ground, url: str, settings: model.ListSources) -> Source:
    """The list at a URL."""
    if is_directory(url):
        return LdapSource(url, parse_list_url(url), ground.slowly, settings.size, settings.timeout)
    client = ground.client(url, HTTPLimits(total=settings.timeout))
    return WebSource(url, Origin(client, ground.reactor, settings.size))
