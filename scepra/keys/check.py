"""Whether the keys and certificates that a configuration names are there, fit each other, and suit clients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from scepra.config.document import Path
from scepra.config.finding import Finding, Sections
from scepra.config.model import (
    AllOf,
    AnyOf,
    CertificateSigner,
    DualIdentity,
    GenerationDirectory,
    IdentityFiles,
    KeyInToken,
    NdesChallenge,
    Profile,
    SplitIdentity,
    Upstream,
    singles,
)
from scepra.errors import ConfigError
from scepra.generation import Terms, arrange
from scepra.keys.certificate import read_certificates
from scepra.keys.directory import EMPTY, GenerationStore
from scepra.keys.identity import read_identity
from scepra.keys.lint import lint, validity
from scepra.keys.token import Tokens
from scepra.keys.trust import examine_agents, examine_anchors, examine_lists, examine_manufacturers
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation, Identity


@dataclass(slots=True)
class Examination:
    """What was found, and the identities of those profiles whose files are in order."""

    findings: list[Finding] = field(default_factory=list)
    generations: dict[str, Generation] = field(default_factory=dict)


def examine(
    sections: Sections, now: datetime, offered: Mapping[str, Collection[Certificate]] = MappingProxyType({})
) -> Examination:
    """Read every key and certificate that a configuration names, and judge them.

    Args:
        sections: what could be read of the configuration.
        now: the time of judgement, UTC.
        offered: the CA certificates of upstreams, by their names, where they were asked for them.
    """
    examination = Examination()
    tokens = Tokens(sections.tokens)
    try:
        return _examine(examination, sections, now, offered, tokens)
    finally:
        tokens.leave()


def _examine(
    examination: Examination,
    sections: Sections,
    now: datetime,
    offered: Mapping[str, Collection[Certificate]],
    tokens: Tokens,
) -> Examination:
    own: set[Certificate] = set()
    for name, settings in sections.upstreams.items():
        examination.findings += _signer(("upstreams", name, "signer"), settings, now, own, tokens)
    for name, profile in sections.profiles.items():
        path: Path = ("profiles", name)
        anchors = _anchors(path, profile, now, examination.findings)
        examination.findings += _trusted((*path, "challenge"), profile)
        generation = _generation((*path, "ra"), profile.ra, tokens, now, examination.findings)
        if generation is None:
            continue
        examination.generations[name] = generation
        issuers = [
            issuer
            for each, upstream in sections.upstreams_of(profile).items()
            for issuer in offered.get(each) or _issuers(upstream, anchors)
        ]
        for remark in lint(generation, issuers, now):
            place = ("certificate",) if remark.role == "both" else (remark.role, "certificate")
            if isinstance(profile.ra, GenerationDirectory):
                place = ("directory",)
            examination.findings.append(Finding((*path, "ra", *place), remark.sentence, remark.severity))
    for generation in examination.generations.values():
        own |= {generation.signing.certificate, generation.encryption.certificate}
    for name, profile in sections.profiles.items():
        examination.findings += examine_agents(("profiles", name, "on-behalf"), profile.on_behalf, own, now)
    return examination


def _anchors(path: Path, profile: Profile, now: datetime, findings: list[Finding]) -> list[Certificate]:
    """The renewal anchors of a profile; what is wrong with them, and with manufacturers', is noted."""
    anchors: list[Certificate] = []
    if profile.renewal is not None:
        anchors += examine_anchors((*path, "renewal", "trust"), profile.renewal.trust, now, findings)
        findings += examine_lists((*path, "renewal", "crl"), profile.renewal.crl, anchors, now)
    findings += examine_manufacturers(path, profile, anchors, now)
    return anchors


def _signer(path: Path, upstream: Upstream, now: datetime, own: set[Certificate], tokens: Tokens) -> Iterator[Finding]:
    """The RA's certificate for the upstream, which becomes one of the RA's *own*."""
    if not isinstance(upstream.signer, CertificateSigner):
        return
    findings: list[Finding] = []
    identity = _identity(path, upstream.signer, tokens, findings)
    yield from findings
    if identity is not None:
        own.add(identity.certificate)
        for sentence, severity in validity(identity.certificate, now):
            yield Finding((*path, "certificate"), sentence, severity)


def _generation(
    path: Path,
    ra: DualIdentity | SplitIdentity | GenerationDirectory,
    tokens: Tokens,
    now: datetime,
    findings: list[Finding],
) -> Generation | None:
    if isinstance(ra, GenerationDirectory):
        return _newest((*path, "directory"), ra, tokens, now, findings)
    if isinstance(ra, DualIdentity):
        both = _identity(path, ra, tokens, findings)
        return None if both is None else Generation(both, both)
    signing = _identity((*path, "signing"), ra.signing, tokens, findings)
    encryption = _identity((*path, "encryption"), ra.encryption, tokens, findings)
    return None if signing is None or encryption is None else Generation(signing, encryption)


def _newest(
    path: Path, ra: GenerationDirectory, tokens: Tokens, now: datetime, findings: list[Finding]
) -> Generation | None:
    """The generation of a directory that is served."""
    try:
        installed = GenerationStore(ra.directory, tokens).installed()
    except ConfigError as error:
        findings += (Finding(path, f"{problem.file} {problem.sentence}") for problem in error.problems)
        return None
    if not installed:
        profile = path[1]
        sentence = f"{ra.directory} {EMPTY}: scepra enroll-ra --config FILE --profile {profile} enrols the first"
        findings.append(Finding(path, sentence))
        return None
    terms = Terms(timedelta(seconds=ra.settle), timedelta(seconds=ra.overlap))
    return arrange(installed, terms, now).current.generation


def _identity(path: Path, files: IdentityFiles, tokens: Tokens, findings: list[Finding]) -> Identity | None:
    """An identity, or None and what is wrong with its files."""
    try:
        if isinstance(files.key, KeyInToken) and tokens.get(files.key.token) is None:
            # That the token is not there, or wrong, has been said where that is read.
            return None
        return read_identity(files, tokens)
    except ConfigError as error:
        for problem in error.problems:
            key = "key" if problem.file == files.key.place else "certificate"
            findings.append(Finding((*path, key), f"{problem.file} {problem.sentence}"))
        return None


def _trusted(path: Path, profile: Profile) -> Iterator[Finding]:
    """The certificates that NDES's administration page is known by."""
    several = isinstance(profile.challenge, AnyOf | AllOf)
    for index, each in enumerate(singles(profile.challenge)):
        if isinstance(each, NdesChallenge) and each.trust is not None:
            where: Path = (*path, "providers", index) if several else path
            try:
                read_certificates(each.trust)
            except ConfigError as error:
                yield from (Finding((*where, "trust"), f"{each.file} {each.sentence}") for each in error.problems)


def _issuers(upstream: Upstream, anchors: Iterable[Certificate]) -> Iterator[Certificate]:
    """The CA certificates of an upstream, as far as the configuration holds them."""
    for pin in upstream.ca_fingerprint:
        if pin.certificate is not None:
            yield pin.certificate
        yield from (anchor for anchor in anchors if pin.matches(anchor))
