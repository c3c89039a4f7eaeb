"""What one upstream offers, judged against what is pinned (CERT-11, CERT-12, CAPS-11; AC-106, AC-107).

The view is a value. Trust comes from the pinned certificates alone and goes downward from them: the answers choose
among what is trusted, and change no pin and no algorithm (design rule 11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from scepra.config.upstream import Upstream
from scepra.errors import ScepError, UpstreamError
from scepra.scep.capabilities import AES, POST_PKI_OPERATION, Capabilities
from scepra.scep.certificate import Certificate
from scepra.scep.cms import parse_ca_certificates
from scepra.upstream.belief import Believed, CAGeneration, digest

# What RFC 8894, 3.5.2 has SCEPStandard stand for.
_STANDARD = frozenset((AES, POST_PKI_OPERATION, "SHA-256"))


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a CA tells of the CA that follows it, as far as that is believed.

    ``certificates`` are the next CA's, those below it after it; ``message`` is the answer itself, where the CA's
    own key signed it over them (CERT-31), else None. ``obstacle`` says why no request can be made to it yet, if none
    can.
    """

    certificates: tuple[Certificate, ...]
    message: bytes | None
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """What a CA offers and may be believed.

    ``certificates`` are all that it offers, in its order, believed or not. ``current`` is the CA as it issues now,
    ``next`` the one that follows, as far as requests can be made to it already (CERT-35), and ``announcement`` what is
    told of it. ``lineage`` are the CAs that followed each other, as far as evidence tells: those that were pinned, and
    those that are believed because of them. ``post`` says that PKIOperation goes by POST. ``missing`` are expected
    capabilities that it does not list.
    """

    capabilities: Capabilities
    certificates: tuple[Certificate, ...]
    current: CAGeneration
    post: bool
    missing: frozenset[str]
    next: CAGeneration | None = None
    announcement: Announcement | None = None
    lineage: tuple[Certificate, ...] = ()

    @property
    def pinned(self) -> Certificate:
        """The CA that is pinned, of the current generation; so are all below."""
        return self.current.pinned

    @property
    def issuers(self) -> tuple[Certificate, ...]:
        """What issued certificates may verify under."""
        return self.current.issuers

    @property
    def encryption(self) -> Certificate:
        """What requests are encrypted to."""
        return self.current.encryption

    @property
    def signers(self) -> tuple[Certificate, ...]:
        """Who may sign answers."""
        return self.current.signers

    @property
    def expires(self) -> datetime:
        """Until when the view is good."""
        return self.current.expires

    def ahead(self, until: datetime | None) -> UpstreamView:
        """The view by which the RA's own next certificates are fetched: from the next CA, if that can be asked already
        and will have begun in time; who may sign and issue now still may.

        Args:
            until: when the RA's newest certificates end; None: it has none, and cannot wait.
        """
        following = self._following(until)
        if following is None:
            return self
        issuers, signers = (*following.issuers, *self.issuers), (*following.signers, *self.signers)
        return replace(self, current=replace(following, issuers=issuers, signers=signers))

    def outdated(self, certificate: Certificate, ends: datetime) -> str:
        """Why an RA whose newest certificate this is needs another, however long it lasts; empty if it does not."""
        if self.next is not None and _issuer(certificate, self.next.issuers) is not None:
            return ""
        if self._following(ends) is not None:
            return "another CA is to follow the one that issued it"
        return (
            "" if _issuer(certificate, self.issuers) is not None else "another CA has followed the one that issued it"
        )

    def _following(self, until: datetime | None) -> CAGeneration | None:
        begins = self.next.pinned.not_before if self.next is not None else None
        return self.next if begins is not None and until is not None and begins < until else None

    def knows(self, authority: bytes | None) -> bool:
        """Whether a generation is the current one, the next one, or one that was before."""
        return authority in (None, self.current.authority) or any(
            digest(each) == authority for each in (*self.lineage, *((self.next.pinned,) if self.next else ()))
        )

    @property
    def announced(self) -> tuple[Certificate, ...]:
        """The CAs that are to follow."""
        return self.announcement.certificates if self.announcement is not None else ()

    def toward(self, authority: bytes | None) -> CAGeneration:
        """The generation that a transaction is for; the current one where its own is not, or no more, apart from it."""
        return self.next if self.next is not None and self.next.authority == authority else self.current

    def issuers_for(self, authority: bytes | None) -> tuple[Certificate, ...]:
        """What the certificate of a transaction may verify under: its generation's CAs; and the CA that it was made
        for, if another has followed that meanwhile."""
        issuers = self.toward(authority).issuers
        return (*issuers, *(each for each in self.lineage if digest(each) == authority and each not in issuers))

    def overtaken(self, issued: Certificate, authority: bytes | None) -> bool:
        """Whether the CA that is to follow issued the certificate of a transaction that was not for it."""
        following = self.next.issuers if self.next is not None else ()
        return _issuer(issued, self.issuers_for(authority)) is None and _issuer(issued, following) is not None

    def signers_for(self, authority: bytes | None) -> tuple[Certificate, ...]:
        """Who may sign the answers of a transaction: whoever may now, and its generation's signers."""
        return tuple(dict.fromkeys((*self.toward(authority).signers, *self.current.signers)))

    def asked_by(self, certificate: Certificate) -> bytes:
        """Which generation of the CA a request is for that was encrypted to one of the RA's certificates: the one that
        issued this (CERT-35)."""
        following = self.next
        if following is None or _issuer(certificate, self.current.issuers) is not None:
            return self.current.authority
        return following.authority if _issuer(certificate, following.issuers) is not None else self.current.authority

    def issuer_of(self, certificate: Certificate) -> Certificate | None:
        """Which CA issued a certificate, of all generations."""
        following = self.next.issuers if self.next is not None else ()
        return _issuer(certificate, (*self.current.issuers, *following, *self.lineage))


def _issuer(certificate: Certificate, issuers: Iterable[Certificate]) -> Certificate | None:
    """Which of some CAs issued a certificate: by its name, and by its signature, as generations share a name."""
    for each in issuers:
        if each.subject_der == certificate.issuer_der and certificate.signed_by(each.public_key):
            return each
    return None


def build_view(
    name: str,
    settings: Upstream,
    caps: bytes,
    ca_cert: bytes,
    now: datetime,
    followed: frozenset[Certificate] = frozenset(),
) -> UpstreamView:
    """The view that two answers give.

    Args:
        name: the upstream's, for the error.
        settings: its pins, floor and expectations.
        caps: the body of the GetCACaps answer, empty where there was none (CAPS-08).
        ca_cert: the body of the GetCACert answer.
        now: UTC.
        followed: the CAs that are believed beside the pinned ones, since they follow them.

    Raises:
        UpstreamError: nothing that is offered is pinned, or nothing that is trusted can be encrypted to.
    """
    try:
        certificates = parse_ca_certificates(ca_cert)
        trust = Believed.from_pins(settings, certificates, now, followed)
        current = trust.generation(settings.floor)
    except ScepError as error:
        raise UpstreamError(name, f"its CA certificates cannot be used: {error.reason}", sent=False) from error
    capabilities = Capabilities.parse(caps)
    listed = capabilities.keywords | (_STANDARD if capabilities.standard else frozenset())
    return UpstreamView(
        capabilities=capabilities,
        certificates=certificates,
        current=current,
        post=settings.transport == "post" or (settings.transport == "auto" and capabilities.post),
        missing=frozenset(settings.expect_capabilities) - listed,
    )
