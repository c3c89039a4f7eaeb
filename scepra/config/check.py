"""What is wrong between sections, each of which may be right by itself.

Each check yields findings: a path, a sentence, whether it is an error or a warning. They run on whatever sections could
be read, so that one mistake hides no other.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from scepra.config import providers
from scepra.config.challenge import (
    MintedChallenge,
    NdesChallenge,
    NoChallenge,
    StaticChallenge,
    singles,
)
from scepra.config.document import Path
from scepra.config.finding import Finding, Sections
from scepra.config.generations import check_generations
from scepra.config.identity import DualIdentity, IdentityFiles, SplitIdentity
from scepra.config.kind import KINDS
from scepra.config.model import Limits, Listen
from scepra.config.profile import Profile
from scepra.config.refusal import suggestion
from scepra.config.store import Store
from scepra.config.strength import GUESSABLE, WEAK, strength
from scepra.config.token import KeyInToken
from scepra.config.trust import check_certificates, check_queries, placed
from scepra.config.upstream import CertificateSigner, EphemeralSigner, Upstream
from scepra.config.ways import check_upstreams
from scepra.errors import Refused
from scepra.policy import openness
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.transport import ADMINISTRATION_PAGE, read_path

__all__ = ["Finding", "Sections", "check"]

# Kinds of challenge that the RA gives out; a profile gives out those of one provider.
_GIVEN_OUT = (MintedChallenge, NdesChallenge)
# Clients give up after 30 s (HTTP-29, RA-24).
PATIENCE = 25.0
# Finished transactions are kept for at least a week (MSG-44).
WEEK = 7 * 86400.0


def check(sections: Sections) -> Iterator[Finding]:
    """Every finding between and within the sections."""
    if sections.listen is not None:
        yield from _workers(sections.listen, sections.workers)
        yield from _administration(sections.listen)
    if sections.limits is not None:
        yield from _limits(sections.limits)
    if sections.store is not None:
        yield from _store(sections.store)
    for name, upstream in sections.upstreams.items():
        yield from _upstream(name, upstream)
        deadline = sections.limits.answer_deadline if sections.limits is not None else math.inf
        if upstream.timeout >= deadline:
            yield Finding(("upstreams", name, "timeout"), "not shorter than the answer-deadline under limits")
        elif upstream.timeout + upstream.queue.patience >= deadline:
            yield Finding(
                ("upstreams", name, "queue", "patience"),
                "together with timeout not shorter than the answer-deadline under limits",
            )
        kept = sections.store.retention.transactions if sections.store is not None else math.inf
        if isinstance(upstream.signer, EphemeralSigner) and upstream.signer.period > kept:
            yield Finding(
                ("upstreams", name, "signer", "period"), "longer than transactions are kept (store: retention)"
            )
    for name, profile in sections.profiles.items():
        yield from _profile(name, profile, sections)
    yield from _paths(sections.profiles)
    yield from _pools(sections.profiles)
    for where, files in _identities(sections):
        if isinstance(files.key, KeyInToken) and files.key.token not in sections.token_names:
            yield Finding(
                (*where, "key", "token"),
                "no token has this name" + suggestion(files.key.token, sections.token_names),
            )
    used = {name for profile in sections.profiles.values() for name in (*profile.upstream_names, profile.certifier)}
    if sections.complete and used <= set(sections.upstreams):
        for name in sorted(set(sections.upstreams) - used):
            yield Finding(("upstreams", name), "no profile uses this upstream", "warning")


def _identities(sections: Sections) -> Iterator[tuple[Path, IdentityFiles]]:
    """Every certificate and key that is named, and where."""
    for name, upstream in sections.upstreams.items():
        if isinstance(upstream.signer, CertificateSigner):
            yield ("upstreams", name, "signer"), upstream.signer
    for name, profile in sections.profiles.items():
        if isinstance(profile.ra, DualIdentity):
            yield ("profiles", name, "ra"), profile.ra
        elif isinstance(profile.ra, SplitIdentity):
            yield ("profiles", name, "ra", "signing"), profile.ra.signing
            yield ("profiles", name, "ra", "encryption"), profile.ra.encryption


def _workers(listen: Listen, workers: int | None) -> Iterator[Finding]:
    if workers is not None and workers > 1 and not listen.shareable:
        yield Finding(("workers",), "several processes can share no endpoints under listen but those of tcp:PORT")


def _administration(listen: Listen) -> Iterator[Finding]:
    for index, endpoint in enumerate(listen.administration):
        interface = endpoint.partition("interface=")[2].replace("\\", "")
        if endpoint.startswith("tcp:") and not interface.startswith(("127.", "localhost", "::1")):
            sentence = (
                "tokens and challenges travel in clear to other machines: use ssl:PORT:privateKey=...:certKey=..."
            )
            yield Finding(("listen", "admin", index), sentence, "warning")


def _limits(limits: Limits) -> Iterator[Finding]:
    if limits.connections_per_address > limits.connections:
        yield Finding(("limits", "connections-per-address"), "more than connections in all")


def _store(store: Store) -> Iterator[Finding]:
    if store.password_file is not None and not store.is_postgresql:
        yield Finding(("store", "password-file"), "a password is for PostgreSQL: SQLite asks for none")
    kept, path = store.retention, ("store", "retention")
    if kept.challenges < kept.transactions:
        yield Finding((*path, "challenges"), "shorter than transactions: a used challenge would be good again (SEC-07)")
    if kept.transactions < WEEK:
        yield Finding((*path, "transactions"), "shorter than 7d: clients may come back for days (MSG-44)", "warning")


def _upstream(name: str, upstream: Upstream) -> Iterator[Finding]:
    path: Path = ("upstreams", name)
    if upstream.authorisation == "ra-certificate" and not isinstance(upstream.signer, CertificateSigner):
        yield Finding(
            (*path, "authorisation"), "ra-certificate needs a signer with the strategy ra-certificate and its files"
        )
    if upstream.digest is Digest.MD5 and "MD5" not in upstream.legacy:
        yield Finding((*path, "digest"), "MD5 is broken: it is used only where legacy names it too (SEC-01)")
    if upstream.cipher is ContentCipher.DES_CBC and "DES-CBC" not in upstream.legacy:
        yield Finding((*path, "cipher"), "DES-CBC is broken: it is used only where legacy names it too (SEC-01)")
    for algorithm in KINDS[upstream.kind].answers:
        if algorithm not in upstream.legacy:
            said = (
                f"{upstream.kind} answers in {algorithm} as set up at first, which is read only where legacy names it"
            )
            yield Finding((*path, "kind"), said, "warning")
    if upstream.connect_timeout > upstream.timeout:
        yield Finding((*path, "connect-timeout"), "longer than timeout, which includes it")
    if upstream.timeout > PATIENCE:
        yield Finding(
            (*path, "timeout"), "longer than 25s: clients that give up after 30s never see such an answer", "warning"
        )
    yield from _queue(path, upstream)
    yield from _legacy(path, upstream.legacy)


def _queue(path: Path, upstream: Upstream) -> Iterator[Finding]:
    queue, path = upstream.queue, (*path, "queue")
    if upstream.timeout <= PATIENCE < upstream.timeout + queue.patience:
        yield Finding(
            (*path, "patience"),
            "together with timeout longer than 25s: clients that give up after 30s never see such an answer",
            "warning",
        )
    if queue.concurrency > upstream.concurrency:
        yield Finding((*path, "concurrency"), "more than the upstream's concurrency, which includes it")
    if queue.first_poll > queue.longest_poll:
        yield Finding((*path, "first-poll"), "longer than longest-poll")
    if queue.give_up_after <= queue.longest_poll:
        yield Finding((*path, "give-up-after"), "not longer than longest-poll")


def _legacy(path: Path, legacy: Collection[str]) -> Iterator[Finding]:
    for index, algorithm in enumerate(legacy):
        yield Finding((*path, "legacy", index), f"{algorithm} is accepted although it is broken (SEC-01)", "warning")


def _profile(name: str, profile: Profile, sections: Sections) -> Iterator[Finding]:
    path: Path = ("profiles", name)
    yield from check_upstreams(path, profile, sections)
    offered = profile.capabilities
    if not (offered.sha1 or offered.sha256 or offered.sha512):
        yield Finding(
            (*path, "capabilities"), "without SHA-1, SHA-256 and SHA-512 Apple's devices refuse the server (CAPS-06)"
        )
    if not profile.polling:
        for rule in profile.policy:
            if rule.patience is not None:
                said = f"must be true: what the rule {rule.kind} keeps back can only be polled for"
                yield Finding((*path, "polling"), said)
    if profile.held.per_address > profile.held.requests:
        yield Finding((*path, "held", "per-address"), "more than requests in all")
    if profile.observe:
        yield Finding(
            (*path, "observe"),
            "THE POLICY IS NOT ENFORCED: whoever has the credential is certified whatever it asks for, but for a CA's"
            " powers and what is malformed or broken",
            "warning",
        )
    yield from _legacy(path, profile.legacy)
    yield from check_certificates(path, profile, sections)
    yield from check_queries(path, profile, sections)
    yield from check_generations((*path, "ra"), profile, sections)
    yield from _challenge((*path, "challenge"), profile, sections)
    for opening in openness(profile.policy):
        yield Finding((*path, "policy", *opening.path), opening.sentence, opening.severity)
    yield from _idle_rules(path, profile)


def _idle_rules(path: Path, profile: Profile) -> Iterator[Finding]:
    """Rules that rely on what the profile has not."""
    for index, rule in enumerate(profile.policy):
        where = (*path, "policy", index, rule.kind)
        if rule.hold is not None and rule.hold.when.credential == "renewal" and profile.renewal is None:
            yield Finding((*where, "when", "credential"), "this profile renews nothing: nothing is ever held")
        for position, limit in enumerate(rule.limit or ()):
            known = any(not isinstance(each, StaticChallenge | NoChallenge) for each in singles(profile.challenge))
            if limit.per == "device" and not known:
                said = "challenges of this profile are given to no device: nothing is ever counted"
                yield Finding((*where, position, "per"), said)


def _challenge(path: Path, profile: Profile, sections: Sections) -> Iterator[Finding]:
    retention = sections.store.retention if sections.store is not None else None
    upstreams = sections.upstreams_of(profile)
    for below, sentence, severity in providers.findings(
        profile.challenge, sections.limits, retention, upstreams.values()
    ):
        yield Finding((*path, *below), sentence, severity)
    for index, (where, challenge) in enumerate(placed(path, profile)):
        match challenge:
            case NoChallenge():
                sentence = "anyone who reaches this profile may enrol, as far as its policy lets them"
                yield Finding(where, sentence, "warning")
            case StaticChallenge():
                yield from _static(where, challenge)
            case MintedChallenge():
                yield from _minted(where, challenge, profile, sections)
            case NdesChallenge():
                yield from _ndes(where, challenge, profile, sections)
        earlier = singles(profile.challenge)[:index]
        if isinstance(challenge, _GIVEN_OUT) and any(isinstance(each, _GIVEN_OUT) for each in earlier):
            yield Finding((*where, "type"), "the profile gives out challenges of another provider already")


def _minted(path: Path, challenge: MintedChallenge, profile: Profile, sections: Sections) -> Iterator[Finding]:
    if challenge.lifetime > challenge.longest:
        yield Finding((*path, "lifetime"), "longer than longest")
    if sections.store is not None and challenge.longest > sections.store.retention.challenges:
        yield Finding((*path, "longest"), "longer than used challenges are kept (store: retention)")
    for name, upstream in sections.upstreams_of(profile).items():
        if upstream.authorisation == "challenge":
            sentence = f"the upstream {name} asks for a challenge, and does not know those that the RA makes"
            yield Finding((*path, "type"), sentence)


def _ndes(path: Path, challenge: NdesChallenge, profile: Profile, sections: Sections) -> Iterator[Finding]:
    plain = challenge.url.startswith("http:")
    if plain and challenge.authentication == "basic":
        yield Finding((*path, "authentication"), "basic sends the password itself: only over https (AC-118)")
    elif plain and not challenge.credentials_may_travel_without_tls:
        sentence = "without TLS the account can be misused: use https, or set credentials-may-travel-without-tls"
        yield Finding((*path, "url"), f"{sentence} (AC-118)")
    elif plain:
        sentence = "whoever is on the way to NDES can misuse the account"
        yield Finding((*path, "credentials-may-travel-without-tls"), sentence, "warning")
    if plain and challenge.trust is not None:
        yield Finding((*path, "trust"), "there is nothing to trust over http")
    if challenge.pool > challenge.cache:
        yield Finding((*path, "pool"), "more than cache: NDES keeps no more than that")
    for name, upstream in sections.upstreams_of(profile).items():
        if upstream.authorisation != "challenge":
            sentence = f"the upstream {name} does not ask for a challenge (authorisation): use minted ones"
            yield Finding((*path, "type"), sentence)
    if len(profile.upstream_names) > 1:
        sentence = "a password of NDES is good at that one only: the profile can have no more than one upstream"
        yield Finding((*path, "type"), sentence)
    if any(rule.hold is not None for rule in profile.policy):
        yield Finding(path, "what the rule hold keeps back too long, NDES refuses: its passwords expire", "warning")


def _pools(profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """Profiles in front of one NDES that want to keep more of its passwords than it has places for, all of them."""
    pools: dict[str, list[tuple[Path, NdesChallenge]]] = {}
    for name, profile in profiles.items():
        for where, challenge in placed(("profiles", name, "challenge"), profile):
            if isinstance(challenge, NdesChallenge):
                pools.setdefault(challenge.broker, []).append((where, challenge))
    for broker, found in pools.items():
        wanted, places = sum(each.pool for _, each in found), min(each.cache for _, each in found)
        if len(found) > 1 and wanted > places:
            sentence = f"the profiles in front of {broker} want {wanted} together, and it keeps {places} (cache)"
            yield Finding((*found[-1][0], "pool"), f"{sentence}: one may never have a password", "warning")


def _static(path: Path, challenge: StaticChallenge) -> Iterator[Finding]:
    source = next(
        key
        for key, secret in (
            ("file", challenge.file),
            ("environment", challenge.environment),
            ("insecure-inline", challenge.insecure_inline),
        )
        if secret is not None
    )
    if source == "insecure-inline":
        yield Finding((*path, source), "whoever reads this file knows the challenge", "warning")
    bits = strength(challenge.secret.reveal().decode())
    if bits < GUESSABLE:
        yield Finding((*path, source), f"the challenge can be guessed: about {bits} bits, at least {GUESSABLE} needed")
    elif bits < WEAK:
        yield Finding((*path, source), f"the challenge is weak: about {bits} bits, {WEAK} are safe", "warning")


def _paths(profiles: Mapping[str, Profile]) -> Iterator[Finding]:
    """Paths that lead nowhere, and paths and CA identifiers that lead to two profiles (HTTP-14, HTTP-15, CERT-20)."""
    default: dict[tuple[str, ...], str] = {}
    named: dict[tuple[tuple[str, ...], str], str] = {}
    for name, profile in profiles.items():
        for index, text in enumerate(profile.paths):
            path: Path = ("profiles", name, "paths", index)
            if not text.startswith("/") or "?" in text or "#" in text:
                yield Finding(path, "expected the path of a URL, from its first slash on")
                continue
            try:
                segments = read_path(text.encode())
            except Refused as refused:
                yield Finding(path, refused.reason)
                continue
            if segments == ADMINISTRATION_PAGE:
                yield Finding(path, "this is NDES's administration page, which is never served (AC-014)")
                continue
            first = default.setdefault(segments, name)
            if first != name and not profile.ca_identifiers:
                yield Finding(path, f"the profile {first} is served at this path already, case and slashes aside")
            elif first != name:
                yield Finding(
                    path,
                    f"PKIOperation names no CA identifier: here it reaches the profile {first}",
                    "warning",
                )
            for position, identifier in enumerate(profile.ca_identifiers):
                other = named.setdefault((segments, identifier), name)
                if other != name:
                    yield Finding(
                        ("profiles", name, "ca-identifiers", position),
                        f"the profile {other} has this identifier at the same path",
                    )
