"""Renewal, judged by the RA itself: the upstream sees the RA's signature and can check none of this (MSG-31, RA-30).

RFC 8894, 2.3 and 7.6; security section 4.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.enrolment import Violation
from scepra.errors import ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.name import parse_general_names

WEAK = frozenset((Digest.MD5, Digest.SHA1))
REQUEST_AGENT = "1.3.6.1.4.1.311.20.2.1"


@dataclass(frozen=True, slots=True)
class RenewalRules:
    """What a profile accepts as a renewal.

    ``anchors`` are the CA certificates that may have issued, directly, the certificate being renewed: nothing that a
    message carries extends them (SEC-10). ``infrastructure`` are certificates that never renew: the RA's own (AC-055).
    """

    anchors: tuple[Certificate, ...]
    window: timedelta
    grace: timedelta = timedelta(0)
    fewer_names: bool = True
    same_key: bool = False
    sha1: bool = False
    infrastructure: frozenset[Certificate] = frozenset()

    def issued(self, signer: Certificate) -> bool:
        """Whether one of the anchors issued *signer*: by name and by signature, not by name alone (AC-049)."""
        return any(
            anchor.is_ca
            and (anchor.key_usage is None or "keyCertSign" in anchor.key_usage)
            and (signer.issuer_der == anchor.subject_der or signer.issuer.matches(anchor.subject))
            and signer.signed_by(anchor.public_key)
            for anchor in self.anchors
        )

    def violations(
        self, signer: Certificate, csr: CertificationRequest, digest: Digest, now: datetime
    ) -> tuple[Violation, ...]:
        """Everything that keeps *signer* from renewing itself into *csr*.

        Args:
            signer: the certificate whose key signed the message, issued by an anchor.
            digest: the digest of that signature.
            now: the time of judgement, UTC.
        """
        try:
            return tuple(
                Violation("renewal", path, sentence)
                for path, sentence in (*self._certificate(signer, digest, now), *self._request(signer, csr))
            )
        except ScepError as error:
            return (Violation("renewal", "signer", error.reason),)

    def _certificate(self, signer: Certificate, digest: Digest, now: datetime) -> Iterator[tuple[str, str]]:
        if signer in self.infrastructure:
            yield "signer", "is the RA's own certificate"
        if signer.is_ca:
            yield "signer", "is a CA certificate"
        if signer.extended_key_usage is not None and REQUEST_AGENT in signer.extended_key_usage:
            yield "signer.extendedKeyUsage", "is an enrolment agent's certificate"
        if signer.key_usage is not None and "digitalSignature" not in signer.key_usage:
            yield "signer.keyUsage", "lacks digitalSignature"
        if not self.sha1 and (digest in WEAK or signer.signature_digest in WEAK):
            yield "signer.signature", "rests on SHA-1 or MD5"
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
