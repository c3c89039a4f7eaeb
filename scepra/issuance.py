"""An issued certificate, judged before it is believed (design rule 11; MSG-61, AC-110, I5).

A CA can be wrong, stale or not the CA at all. What is judged here is what the RA can know: the key, the issuer, the
names, the powers and the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.enrolment import Violation
from scepra.errors import ScepError
from scepra.provenance import WEAK
from scepra.scep import der, oid
from scepra.scep.certificate import Certificate
from scepra.scep.csr import CertificationRequest
from scepra.scep.name import parse_general_names

ANY_PURPOSE = "2.5.29.37.0"


@dataclass(frozen=True, slots=True)
class IssuanceRules:
    """What an upstream may do to a request.

    ``tolerated`` names deviations that are expected of this CA: "subject" (it rewrites the subject), "names" (it adds
    or changes subjectAltName), "validity" (the certificate need not be valid now), "sha1" (it signs with SHA-1).
    ``skew`` is how far the clocks may be apart.
    """

    tolerated: frozenset[str] = frozenset()
    skew: timedelta = timedelta(minutes=10)

    def violations(
        self, certificate: Certificate, csr: CertificationRequest, issuers: tuple[Certificate, ...], now: datetime
    ) -> tuple[Violation, ...]:
        """Everything that keeps *certificate* from being given to the client.

        Args:
            certificate: has the request's key already (MSG-61).
            issuers: the pinned CA, and what chains to it.
            now: UTC.
        """
        try:
            return tuple(
                Violation("issued", path, sentence) for path, sentence in self._judge(certificate, csr, issuers, now)
            )
        except ScepError as error:
            return (Violation("issued", "certificate", error.reason),)

    def _judge(
        self, certificate: Certificate, csr: CertificationRequest, issuers: tuple[Certificate, ...], now: datetime
    ) -> Iterator[tuple[str, str]]:
        if not any(
            certificate.issuer_der == issuer.subject_der and certificate.signed_by(issuer.public_key)
            for issuer in issuers
        ):
            yield "issuer", "is not the pinned CA"
        if "sha1" not in self.tolerated and certificate.signature_digest in WEAK:
            yield "signature", "rests on SHA-1 or MD5"
        kinds = [extension.oid for extension in certificate.extensions]
        if len(set(kinds)) != len(kinds):
            yield "extensions", "has one of them twice, and its readers may each take another"
        if certificate.is_ca or (certificate.key_usage or frozenset()) & {"keyCertSign", "cRLSign"}:
            yield "basicConstraints", "gives a CA's powers"
        if ANY_PURPOSE in (certificate.extended_key_usage or ()) and not _asked_for(csr, ANY_PURPOSE):
            yield "extendedKeyUsage", "is for any purpose"
        if "subject" not in self.tolerated and not _same_subject(certificate, csr):
            yield "subject", "is not the requested one"
        if "names" not in self.tolerated and _has_other_names(certificate, csr):
            yield "subjectAltName", "has names that were not requested"
        if "validity" not in self.tolerated:
            start, end = certificate.not_before, certificate.not_after
            if start is None or end is None or not start - self.skew <= now <= end:
                yield "validity", "does not include now"


def _same_subject(certificate: Certificate, csr: CertificationRequest) -> bool:
    # What is equal octet by octet needs no reading, here and below: most CAs issue just what was asked for.
    return certificate.subject_der == csr.subject.der or certificate.subject.matches(csr.subject)


def _has_other_names(certificate: Certificate, csr: CertificationRequest) -> bool:
    issued = certificate.extension(oid.SUBJECT_ALT_NAME)
    if issued is None or any(asked.oid == issued.oid and asked.value == issued.value for asked in csr.extensions):
        return False
    requested = {name.raw for name in csr.alternative_names}
    return any(name.raw not in requested for name in parse_general_names(der.parse(issued.value)))


def _asked_for(csr: CertificationRequest, purpose: str) -> bool:
    return oid.encode(purpose) in (csr.extended_key_usage or ())
