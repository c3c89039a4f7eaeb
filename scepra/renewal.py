"""Renewal, judged by the RA itself: the upstream sees the RA's signature and can check none of this (MSG-31, RA-30).

RFC 8894, 2.3 and 7.6; security section 4.3.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scepra.enrolment import Reservation, Violation
from scepra.errors import ScepError
from scepra.provenance import Provenance, issuer_of, powers, standing, weaknesses, with_successors
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.name import parse_general_names


@dataclass(frozen=True, slots=True)
class RenewalRules:
    """What a profile accepts as a renewal.

    ``anchors`` are the CA certificates that may have issued, directly, the certificate being renewed: nothing that a
    message carries extends them (SEC-10). ``infrastructure`` are certificates that never renew: the RA's own (AC-055).
    ``profiles`` are those through which this RA must have issued it, ``outside`` says that certificates which it never
    issued renew as well (AC-050). ``uses`` is for how many public keys one certificate may be renewed (AC-052).
    """

    anchors: tuple[Certificate, ...]
    window: timedelta
    grace: timedelta = timedelta(0)
    fewer_names: bool = True
    same_key: bool = False
    sha1: bool = False
    infrastructure: Container[Certificate] = frozenset()
    profiles: frozenset[str] = frozenset()
    outside: bool = False
    uses: int = 1

    def beside(self, lineage: tuple[Certificate, ...]) -> RenewalRules:
        """The same rules, with those CAs as anchors, too, that follow one of the anchors.

        Args:
            lineage: CAs of which each follows an earlier one (CERT-12).
        """
        anchors = with_successors(self.anchors, lineage)
        return replace(self, anchors=anchors) if anchors != self.anchors else self

    def issued(self, signer: Certificate) -> bool:
        """Whether one of the anchors issued *signer*."""
        return issuer_of(signer, self.anchors) is not None

    def reservation(self, signer: Certificate) -> Reservation:
        """What a renewal takes for the new key: the old certificate itself (AC-052).

        It stays with that key whatever the CA says: the key may ask again, and no other may (I2, DR-8).
        """
        return Reservation(f"certificate {signer.fingerprint()}", self.uses)

    def violations(
        self, signer: Certificate, csr: CertificationRequest, digest: Digest, now: datetime, provenance: Provenance
    ) -> tuple[Violation, ...]:
        """Everything that keeps *signer* from renewing itself into *csr*.

        Args:
            signer: the certificate whose key signed the message, issued by an anchor.
            digest: the digest of that signature.
            now: the time of judgement, UTC.
            provenance: what is known of *signer*.
        """
        try:
            return tuple(
                Violation("renewal", path, sentence)
                for path, sentence in (
                    *powers(signer, self.infrastructure),
                    *(weaknesses(signer, digest) if not self.sha1 else ()),
                    *self._validity(signer, now),
                    *self._origin(provenance),
                    *standing(provenance.revocation),
                    *self._request(signer, csr),
                )
            )
        except ScepError as error:
            return (Violation("renewal", "signer", error.reason),)

    def _origin(self, provenance: Provenance) -> Iterator[tuple[str, str]]:
        if provenance.profile is None:
            if not self.outside:
                yield "signer", "was not issued through this RA, or so long ago that it is forgotten"
        elif provenance.profile not in self.profiles:
            yield "signer", f"was issued through profile {provenance.profile}"

    def _validity(self, signer: Certificate, now: datetime) -> Iterator[tuple[str, str]]:
        start, end = signer.not_before, signer.not_after
        if start is None or end is None:
            yield "signer.validity", "cannot be read"
        elif now < start:
            yield "signer.validity", "has not begun"
        elif now - self.grace > end:
            yield "signer.validity", f"ended on {end:%Y-%m-%d}"
        elif now + self.window < end:
            yield "signer.validity", f"lasts until {end:%Y-%m-%d}: too early to renew"

    def _request(self, signer: Certificate, csr: CertificationRequest) -> Iterator[tuple[str, str]]:
        if not self.same_key and csr.public_key.same_key(signer.public_key):
            yield "key", "is the old certificate's key"
        if not csr.subject.matches(signer.subject):
            yield "subject", "differs from the old certificate's"
        extension = signer.extension(oid.SUBJECT_ALT_NAME)
        names = parse_general_names(der.parse(extension.value)) if extension is not None else ()
        old, new = {name.raw for name in names}, {name.raw for name in csr.alternative_names}
        if new - old:
            yield "subjectAltName", "has names that the old certificate has not"
        if old - new and not self.fewer_names:
            yield "subjectAltName", "lacks names that the old certificate has"
