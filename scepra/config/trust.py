"""What is wrong with the sections that say which certificates authorise requests."""

from __future__ import annotations

from collections.abc import Iterator

from scepra.config.challenge import (
    AllOf,
    AnyOf,
    CertificateChallenge,
    NoChallenge,
    SingleChallenge,
    singles,
)
from scepra.config.document import Path
from scepra.config.finding import Finding, Sections
from scepra.config.profile import Profile, Renewal
from scepra.config.refusal import suggestion
from scepra.config.revocation import ListSources, RevocationLists
from scepra.config.upstream import EphemeralSigner
from scepra.policy.pattern import Pattern


def check_certificates(path: Path, profile: Profile, sections: Sections) -> Iterator[Finding]:
    """What concerns certificates that authorise requests, each kind of them."""
    kinds: dict[str, Path] = {}
    if profile.renewal is not None:
        kinds["renewal"] = (*path, "renewal")
        yield from _renewal((*path, "renewal"), profile.renewal, sections)
    if profile.on_behalf is not None:
        kinds["on-behalf"] = (*path, "on-behalf")
    for where, challenge in placed((*path, "challenge"), profile):
        if isinstance(challenge, CertificateChallenge):
            kinds["a challenge of the type certificate"] = where
            yield from _manufacturer(where, challenge, sections)
    for broken in ("MD5", "DES-CBC"):
        if broken in profile.legacy and kinds:
            yield Finding(
                (*path, "legacy", profile.legacy.index(broken)),
                f"{broken} is impossible together with {next(iter(kinds))} (SEC-01): serve old devices by a profile of"
                " their own",
            )
    for name, upstream in sections.upstreams_of(profile).items():
        for kind, where in kinds.items() if upstream.authorisation == "challenge" else ():
            done = {"renewal": "renew", "on-behalf": "be enrolled"}.get(kind, "enrol")
            yield Finding(
                where,
                f"the upstream {name} asks for a challenge: only clients that repeat it can {done} (RA-30)",
                "warning",
            )


def _renewal(path: Path, renewal: Renewal, sections: Sections) -> Iterator[Finding]:
    name = path[1]
    for index, other in enumerate(renewal.profiles):
        if other == name:
            yield Finding((*path, "profiles", index), "this is the profile itself, whose certificates renew anyway")
        elif other not in sections.profile_names:
            sentence = "no profile has this name" + suggestion(other, sections.profile_names)
            yield Finding((*path, "profiles", index), sentence)
    if renewal.outside == "allow":
        sentence = "whatever these CAs have ever issued to anybody renews here, as far as the policy lets it"
        yield Finding((*path, "outside"), sentence, "warning")
    if sections.store is not None:
        kept = sections.store.retention
        if renewal.outside == "refuse" and renewal.grace > kept.certificates:
            yield Finding((*path, "grace"), "longer than certificates are kept after their end (store: retention)")
        if renewal.window + renewal.grace > kept.challenges:
            sentence = "with grace, longer than it is known what was renewed (store: retention, challenges)"
            yield Finding((*path, "window"), sentence, "warning")
    yield from _lists((*path, "crl"), renewal.crl, sections)


def check_queries(path: Path, profile: Profile, sections: Sections) -> Iterator[Finding]:
    """What concerns queries: who answers them, and that somebody does."""
    queries, path = profile.queries, (*path, "queries")
    if queries is None:
        return
    if not queries.certificates and not queries.lists:
        yield Finding(path, "nothing is answered: name get-cert, crl, location or forward", "warning")
    if queries.location is not None and queries.crl is not None:
        yield Finding((*path, "location"), "clients are told it instead of being sent the lists under crl")
    if queries.forward and queries.location is not None and not queries.certificates:
        yield Finding((*path, "forward"), "nothing is ever forwarded: GetCRL is answered with location, GetCert is off")
    elif queries.forward:
        for name in profile.upstream_names:
            upstream = sections.upstreams.get(name)
            sentence = f"the upstream {name} sees the RA ask, and cannot tell for whom (RA-32)"
            if upstream is not None and isinstance(upstream.signer, EphemeralSigner):
                sentence += ", by certificates that it has not issued: most CAs answer only those who have one"
            yield Finding((*path, "forward"), sentence, "warning")
    yield from _lists((*path, "crl"), queries.crl, sections)


def _lists(path: Path, lists: ListSources | None, sections: Sections) -> Iterator[Finding]:
    if lists is None:
        return
    if isinstance(lists, RevocationLists) and lists.unknown == "allow":
        sentence = "whoever keeps the lists from the RA makes revoked certificates good again"
        yield Finding((*path, "unknown"), sentence, "warning")
    if lists.sha1 == "allow":
        yield Finding((*path, "sha1"), "lists that are signed with SHA-1 can be forged", "warning")
    if sections.limits is not None and lists.timeout >= sections.limits.answer_deadline:
        yield Finding((*path, "timeout"), "not shorter than the answer-deadline under limits")


def placed(path: Path, profile: Profile) -> Iterator[tuple[Path, SingleChallenge | NoChallenge]]:
    """The kinds of challenge of a profile, each with its place."""
    several = isinstance(profile.challenge, AnyOf | AllOf)
    for index, challenge in enumerate(singles(profile.challenge)):
        yield (*path, "providers", index) if several else path, challenge


def _manufacturer(path: Path, challenge: CertificateChallenge, sections: Sections) -> Iterator[Finding]:
    if challenge.serial is None:
        sentence = "without serial any device of these manufacturers may have any name that the policy lets through"
        yield Finding(path, sentence, "warning")
    for attribute, text in challenge.subject.items():
        if Pattern(text).matches_everything():
            yield Finding((*path, "subject", attribute), "the pattern accepts everything", "warning")
    if challenge.sha1 == "allow":
        yield Finding((*path, "sha1"), "certificates that are signed with SHA-1 can be forged", "warning")
    yield from _lists((*path, "crl"), challenge.crl, sections)
