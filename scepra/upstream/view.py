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
from scepra.scep import oid
from scepra.scep.algorithm import Floor
from scepra.scep.capabilities import AES, POST_PKI_OPERATION, Capabilities
from scepra.scep.certificate import Certificate, choose_encryption
from scepra.scep.cms import parse_ca_certificates

# What RFC 8894, 3.5.2 has SCEPStandard stand for.
_STANDARD = frozenset((AES, POST_PKI_OPERATION, "SHA-256"))
_UNBOUNDED = 32


@dataclass(frozen=True, slots=True)
class CAGeneration:
    """One generation of a CA, as far as it may be believed.

    ``pinned`` is the CA that the trust comes from; ``issuers`` are the certificates that issued ones may verify under:
    the pinned CAs and those below them. ``encryption`` is what requests are encrypted to: without an RSA key where the
    CA has none (RA-19). ``signers`` may sign answers. It is good until ``expires``, when the first of its trusted
    certificates does.
    """

    pinned: Certificate
    issuers: tuple[Certificate, ...]
    encryption: Certificate
    signers: tuple[Certificate, ...]
    expires: datetime

    @property
    def authority(self) -> bytes:
        """What a transaction knows the generation by: the SHA-256 of its CA's certificate."""
        return _digest(self.pinned)


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

    def ahead(self) -> UpstreamView:
        """The view as it will be when the next CA is the current one, if one is announced that can be asked already."""
        return self if self.next is None else replace(self, current=self.next, next=None, announcement=None)

    def knows(self, authority: bytes | None) -> bool:
        """Whether a generation is the current one, the next one, or one that was before."""
        return authority in (None, self.current.authority) or any(
            _digest(each) == authority for each in (*self.lineage, *((self.next.pinned,) if self.next else ()))
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
        return (*issuers, *(each for each in self.lineage if _digest(each) == authority and each not in issuers))

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


def _digest(certificate: Certificate) -> bytes:
    return bytes.fromhex(certificate.fingerprint())


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


def is_ra(certificate: Certificate) -> bool:
    """Whether a certificate of a GetCACert answer is a registration authority's: neither a CA's nor a root of old."""
    return not certificate.is_ca and certificate.issuer_der != certificate.subject_der


def issued(certificate: Certificate, issuer: Certificate) -> bool:
    """Whether the names chain."""
    return certificate.issuer.matches(issuer.subject)


@dataclass(slots=True)
class Believed:
    """What was offered; of it, what is trusted, with how many CAs may follow below (None: it issues nothing); and why
    the rest is not."""

    offered: tuple[Certificate, ...]
    trusted: dict[Certificate, int | None]
    refused: dict[Certificate, str]

    @classmethod
    def from_pins(
        cls,
        settings: Upstream,
        offered: tuple[Certificate, ...],
        now: datetime,
        followed: frozenset[Certificate] = frozenset(),
    ) -> Believed:
        """Trust what is pinned or follows it, and what chains to that, level by level.

        Raises:
            ScepError: no valid CA certificate is pinned.
        """
        pinned = [
            item for item in offered if item in followed or any(pin.matches(item) for pin in settings.ca_fingerprint)
        ]
        if not pinned:
            raise ScepError("none is pinned; offered are " + ", ".join(map(_shown, offered)))
        trust = cls(offered, {item: anchored(item) for item in pinned if item.valid_at(now)}, {})
        if all(below is None for below in trust.trusted.values()):
            raise ScepError(f"no pinned one is a CA's and valid now: {', '.join(map(_shown, pinned))}")
        # Whoever pins an RA certificate as well wants no other.
        trust.spread(settings.floor, now, frozenset(pinned), only_pinned=any(map(is_ra, pinned)))
        return trust

    def spread(
        self,
        floor: Floor,
        now: datetime,
        judged: frozenset[Certificate] = frozenset(),
        *,
        only_pinned: bool = False,
    ) -> None:
        """Trust what chains to what is trusted, level by level.

        Args:
            judged: certificates that are left as they are.
            only_pinned: no further RA certificate is trusted.
        """
        rest = [item for item in self.offered if item not in judged and item not in self.trusted]
        found = True
        while found:
            found = False
            for item in tuple(rest):
                if only_pinned and is_ra(item):
                    self.refused[item] = "is not pinned, while another RA certificate is"
                elif self._extend(item, floor, now):
                    rest.remove(item)
                    found = True

    def _extend(self, item: Certificate, floor: Floor, now: datetime) -> bool:
        """Trust a certificate if one that is trusted may have issued it, and did."""
        for issuer, below in tuple(self.trusted.items()):
            if below is None or not issued(item, issuer) or not item.signed_by(issuer.public_key, floor.digests):
                continue
            if not item.valid_at(now):
                self.refused[item] = "is expired or not valid yet"
            elif not item.is_ca:
                self.trusted[item] = None
                return True
            elif below and "keyCertSign" in (item.key_usage or ("keyCertSign",)):
                self.trusted[item] = min(below - 1, _path_length(item))
                return True
        return False

    def generation(self, floor: Floor) -> CAGeneration:
        """What is trusted, as a generation.

        Raises:
            ScepError: nothing of it can be encrypted to.
        """
        encryption = self.choose_encryption()
        encryption.public_key.check(floor)
        issuers = tuple(certificate for certificate, below in self.trusted.items() if below is not None)
        return CAGeneration(
            pinned=issuers[0],
            issuers=issuers,
            encryption=encryption,
            signers=tuple(self.trusted),
            expires=min(end for certificate in self.trusted if (end := certificate.not_after) is not None),
        )

    def choose_encryption(self) -> Certificate:
        """What to encrypt to (CERT-11), of what is trusted.

        Raises:
            ScepError: nothing is fit for it, or RA certificates are offered and none is trusted.
        """
        authorities = [item for item in self.trusted if is_ra(item)]
        strangers = [item for item in self.offered if is_ra(item) and item not in self.trusted]
        if strangers and not authorities:
            reasons = (
                f"{_shown(item)} {self.refused.get(item, 'is not issued by the pinned CA')}" for item in strangers
            )
            raise ScepError("no RA certificate can be trusted: " + "; ".join(reasons))
        chosen = choose_encryption(self.trusted)
        if chosen is None and not authorities:
            # A CA that does it all itself may say keyCertSign alone; it is the one that no other stands below.
            lowest = [
                item for item in self.trusted if not any(issued(other, item) for other in self.trusted if other != item)
            ]
            chosen = choose_encryption(lowest) if len(lowest) == 1 else None
            authorities = lowest or list(self.trusted)
        if chosen is None and not any(item.public_key.encrypts for item in self.trusted):
            # Encrypted by password, it only has to be somebody (RA-19).
            chosen = authorities[0]
        if chosen is None:
            raise ScepError("none that is trusted is for encryption")
        return chosen


def anchored(certificate: Certificate) -> int | None:
    """How many CAs may follow below a pinned certificate; a self-signed one of old has no basicConstraints."""
    of_old = certificate.extension(oid.BASIC_CONSTRAINTS) is None and certificate.is_self_signed
    return _path_length(certificate) if certificate.is_ca or of_old else None


def _path_length(certificate: Certificate) -> int:
    return _UNBOUNDED if certificate.path_length is None else certificate.path_length


def _shown(certificate: Certificate) -> str:
    return f"sha256:{certificate.fingerprint()}"
