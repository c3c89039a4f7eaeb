"""Which CA follows a pinned one, and by whose word (RFC 8894, 4.7; CERT-12, CERT-30; AC-106, design rule 11).

No pin is learned. What is kept of a rollover is the signed answer that told of it, and it is verified again, from the
configured pins on, whenever it is read: whoever can write to the store can make nobody believe anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Protocol

from scepra.config.upstream import Upstream
from scepra.errors import ScepError
from scepra.scep.certificate import Certificate
from scepra.scep.rollover import NextCACert, parse_next_ca_cert
from scepra.upstream.belief import Believed, CAGeneration, anchored, is_ra, issued
from scepra.upstream.view import Announcement, UpstreamView


@dataclass(frozen=True, slots=True)
class Succession:
    """One CA that follows another, and why that is believed.

    ``certificate`` is the next CA's. ``evidence`` is the GetNextCACert answer with it under its signature. ``path`` are
    the certificate that made the signature and those above it, up to the CA whose word it is. ``seen`` is when it was
    first believed, UTC.
    """

    certificate: Certificate
    evidence: bytes
    path: tuple[Certificate, ...]
    seen: datetime


class Successions(Protocol):
    """What is remembered of one upstream's rollovers."""

    async def read(self) -> tuple[Succession, ...]:
        """All of it, unverified.

        Raises:
            StoreError: it cannot be read now.
        """

    async def keep(self, succession: Succession) -> bool:
        """Remember one more; False if it is known already.

        Raises:
            StoreError: it cannot be kept now.
        """


class Passing:
    """Successions that are forgotten with the process, but for those that it is given."""

    def __init__(self, known: Iterable[Succession] = ()) -> None:
        self._known = {each.certificate: each for each in known}

    async def read(self) -> tuple[Succession, ...]:
        """All of it."""
        return tuple(self._known.values())

    async def keep(self, succession: Succession) -> bool:
        """Remember one more."""
        new = succession.certificate not in self._known
        self._known.setdefault(succession.certificate, succession)
        return new


def follow(settings: Upstream, known: Iterable[Succession]) -> tuple[Succession, ...]:
    """Those successions that lead back to a pin, each after the one that it rests on.

    Args:
        settings: the pins, and whose word is taken.
        known: what was remembered, or is to be.
    """
    found: list[Succession] = []
    rest = list(known)
    while new := [each for each in rest if _follows(each, settings, [earlier.certificate for earlier in found])]:
        found += new
        rest = [each for each in rest if each not in new]
    return tuple(found)


def _follows(succession: Succession, settings: Upstream, followed: Sequence[Certificate]) -> bool:
    """Whether a succession rests on a pin, or on a CA that follows a pinned one."""
    path, certificate, floor = succession.path, succession.certificate, settings.floor
    if settings.rollover == "refuse" or not path:
        return False
    signer, authority = path[0], path[-1]
    if anchored(authority) is None or not (_pinned(authority, settings) or authority in followed):
        return False
    if signer != authority and not (settings.rollover == "ra" and _speaks(signer)):
        return False
    for lower, upper in pairwise(path):
        if anchored(upper) is None or not issued(lower, upper):
            return False
        if not lower.signed_by(upper.public_key, floor.digests):
            return False
    if not all(each.valid_at(succession.seen) for each in path):
        return False
    try:
        told = parse_next_ca_cert(succession.evidence, (signer,), floor)
        return told.signed and certificate in told.certificates and _fit(certificate, settings, succession.seen)
    except ScepError:
        return False


def _pinned(certificate: Certificate, settings: Upstream) -> bool:
    return any(pin.matches(certificate) for pin in settings.ca_fingerprint)


def _speaks(signer: Certificate) -> bool:
    """Whether it is an RA's that signs."""
    return is_ra(signer) and (signer.key_usage is None or "digitalSignature" in signer.key_usage)


def _fit(certificate: Certificate, settings: Upstream, now: datetime) -> bool:
    """Whether it can be a CA's: says so, signs certificates, has not expired, has a key that may be used.

    Raises:
        ScepError: its key is below the floor.
    """
    certificate.public_key.check(settings.floor)
    end, usage = certificate.not_after, certificate.key_usage
    return certificate.is_ca and (usage is None or "keyCertSign" in usage) and end is not None and now < end


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a GetNextCACert answer comes to: what is to be remembered, and the view with what is next."""

    view: UpstreamView
    new: tuple[Succession, ...] = ()


def look_ahead(
    settings: Upstream, view: UpstreamView, known: Iterable[Succession], answer: bytes, now: datetime
) -> Ahead:
    """What a GetNextCACert answer adds to what is known of a CA.

    A next CA is believed if it is pinned, if a pinned CA has certified it, or if it stands under the signature of
    whoever ``rollover`` says. Nothing else is; nor is a certificate that no signature covers (CERT-33).

    Args:
        view: what is believed now.
        known: what is remembered.
        answer: the body.

    Raises:
        ScepError: it is none, or tells of no CA that is believed.
    """
    known = tuple(known)
    told = parse_next_ca_cert(answer, view.signers, settings.floor)
    offered = tuple(each for each in told.certificates if each not in view.signers)
    if not any(each.is_ca for each in offered):
        if any(each in view.issuers for each in told.certificates):
            return Ahead(view)  # It tells of what is there already.
        raise ScepError("it tells of no CA")
    proposed = tuple(_propose(settings, view, told, answer, now))
    remembered = frozenset(each.certificate for each in known)
    followed = follow(settings, (*known, *(each for each in proposed if each.certificate not in remembered)))
    new = tuple(each for each in followed if each.certificate not in remembered)
    believed = _believe(settings, view, offered, frozenset(each.certificate for each in followed), now)
    if not believed:
        raise ScepError(f"nobody who may say so names {', '.join(f'sha256:{each.fingerprint()}' for each in offered)}")
    generation, obstacle = _generation(settings, view, offered, believed, now)
    # What is passed on says nothing that is not believed here.
    whole = told.signed and told.signer in view.issuers and all(each in believed for each in offered if each.is_ca)
    announcement = Announcement(tuple(believed), answer if whole else None, obstacle)
    lineage = (*view.lineage, *(item for each in new for item in (each.path[-1], each.certificate)))
    return Ahead(
        replace(view, next=generation, announcement=announcement, lineage=tuple(dict.fromkeys(lineage))),
        new,
    )


def _propose(
    settings: Upstream, view: UpstreamView, told: NextCACert, answer: bytes, now: datetime
) -> Iterable[Succession]:
    """What would have to be remembered, if it is believed."""
    path = [told.signer]
    while not _pinned(path[-1], settings) and path[-1] not in view.lineage:
        upper = next((each for each in view.issuers if each not in path and path[-1].signed_by(each.public_key)), None)
        if upper is None:
            return
        path.append(upper)
    for each in told.certificates:
        if each.is_ca and each not in view.issuers:
            yield Succession(each, answer, tuple(path), now)


def _believe(
    settings: Upstream,
    view: UpstreamView,
    offered: tuple[Certificate, ...],
    followed: frozenset[Certificate],
    now: datetime,
) -> dict[Certificate, int]:
    """The CAs that are believed to be next, with how many may follow below each."""
    authorities = tuple(each for each in offered if each.is_ca)
    # They may be valid only later.
    at = max((now, *(start for each in authorities if (start := each.not_before) is not None)))
    anchors = {each: anchored(each) for each in view.issuers if _pinned(each, settings) or each in view.lineage}
    anchors |= {
        each: anchored(each)
        for each in authorities
        if (each in followed or _pinned(each, settings)) and each.valid_at(at) and _fitting(each, settings, now)
    }
    found = Believed(authorities, dict(anchors), {})
    found.spread(settings.floor, at)
    return {
        each: below
        for each, below in found.trusted.items()
        if below is not None and each in authorities and _fitting(each, settings, now)
    }


def _fitting(certificate: Certificate, settings: Upstream, now: datetime) -> bool:
    try:
        return _fit(certificate, settings, now)
    except ScepError:
        return False


def _generation(
    settings: Upstream,
    view: UpstreamView,
    offered: tuple[Certificate, ...],
    believed: dict[Certificate, int],
    now: datetime,
) -> tuple[CAGeneration | None, str]:
    """The next CA as requests can be made to it already; None, and why not, if they cannot."""
    start = max((now, *(begins for each in believed if (begins := each.not_before) is not None)))
    found = Believed(offered, dict(believed), {})
    found.spread(settings.floor, start)
    try:
        if is_ra(view.encryption) and not any(map(is_ra, found.trusted)):
            raise ScepError("it does not tell of the next RA certificates, to which requests would be encrypted")
        return found.generation(settings.floor), ""
    except ScepError as error:
        return None, error.reason
