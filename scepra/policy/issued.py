"""A certificate that was issued, as a policy sees it: the same rules judge it again (I5, AC-110, DR-5).

What is judged is what a CA may have changed or added. The key is the request's (MSG-61), and where the request came
from, when, and how it was signed says nothing about the certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.enrolment import Credential
from scepra.scep import oid
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.csr import Attribute, BasicConstraints, KnownExtensions
from scepra.scep.name import GeneralName, Name
from scepra.scep.publickey import PublicKeyInfo

USUAL_ADDITIONS = frozenset(
    oid.encode(dotted)
    for dotted in (
        "2.5.29.14",  # subjectKeyIdentifier
        "2.5.29.15",  # keyUsage: it narrows; a rule of the profile about it is applied all the same
        "2.5.29.16",  # privateKeyUsagePeriod
        "2.5.29.18",  # issuerAltName
        "2.5.29.19",  # basicConstraints, whose powers are refused by themselves
        "2.5.29.31",  # cRLDistributionPoints
        "2.5.29.32",  # certificatePolicies
        "2.5.29.35",  # authorityKeyIdentifier
        "2.5.29.46",  # freshestCRL
        "1.3.6.1.5.5.7.1.1",  # authorityInfoAccess
        "1.3.6.1.4.1.11129.2.4.2",  # signed certificate timestamps
        "1.3.6.1.4.1.311.20.2",  # Microsoft: the template's name
        "1.3.6.1.4.1.311.21.7",  # Microsoft: the template
        "1.3.6.1.4.1.311.21.10",  # Microsoft: application policies, which are judged as purposes
        "1.2.840.113549.1.9.15",  # smimeCapabilities
    )
)
"""The extensions that CAs add of themselves; every other one must be allowed by the policy."""


@dataclass(frozen=True, slots=True)
class IssuedContents:
    """The contents of a certificate, by the names that a request has for its own.

    ``lifetime`` is how long it is valid; None where that cannot be read.
    """

    subject: Name
    public_key: PublicKeyInfo
    extensions: tuple[Extension, ...]
    alternative_names: tuple[GeneralName, ...]
    key_usage: frozenset[str] | None
    extended_key_usage: tuple[bytes, ...] | None
    basic_constraints: BasicConstraints | None
    signature_digest: Digest | None
    lifetime: timedelta | None
    attributes: tuple[Attribute, ...] = ()
    carrier: bytes | None = None
    # Which template it is made by is the CA's to say.
    templates: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificate: Certificate) -> IssuedContents:
        """What a certificate says.

        Raises:
            ScepError: it cannot be read.
        """
        known = KnownExtensions.read(certificate.extensions, strict=False)
        start, end = certificate.not_before, certificate.not_after
        return cls(
            certificate.subject,
            certificate.public_key,
            certificate.extensions,
            known.alternative_names,
            known.key_usage,
            known.extended_key_usage,
            known.basic_constraints,
            certificate.signature_digest,
            None if start is None or end is None else end - start,
        )


@dataclass(frozen=True, slots=True)
class IssuedRequest:
    """A certificate in the place of a request, with what is known of the request itself."""

    csr: IssuedContents
    credential: Credential
    source: str
    received: datetime
