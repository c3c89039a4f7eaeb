"""Where a certificate that signs a message comes from: which CA issued it, through which profile, whether it still
stands (security section 4.3)."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from scepra.scep import der
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from scepra.scep.identity import CertificateName
from scepra.scep.name import Name

WEAK = frozenset((Digest.MD5, Digest.SHA1))
REQUEST_AGENT = "1.3.6.1.4.1.311.20.2.1"


class Revocation(enum.Enum):
    """What the lists say of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of a certificate beyond what it says of itself.

    Attributes:
        profile: through which profile this RA issued it, by its fingerprint; None: it did not, or has forgotten it.
        revocation: what the lists say, GOOD where none are asked.
    """

    profile: str | None = None
    revocation: Revocation = Revocation.GOOD


def issuer_of(certificate: Certificate, anchors: Iterable[Certificate]) -> Certificate | None:
    """Which of the anchors issued a certificate, directly: by name and by signature, not by name alone (AC-049)."""
    for anchor in anchors:
        if (
            anchor.is_ca
            and (anchor.key_usage is None or "keyCertSign" in anchor.key_usage)
            and (certificate.issuer_der == anchor.subject_der or certificate.issuer.matches(anchor.subject))
            and certificate.signed_by(anchor.public_key)
        ):
            return anchor
    return None


def with_successors(anchors: tuple[Certificate, ...], lineage: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Some CAs, and after them those that follow one of them.

    Args:
        lineage: CAs of which each follows an earlier one (CERT-12).
    """
    first = next((place for place, each in enumerate(lineage) if each in anchors), len(lineage))
    return (*anchors, *(each for each in lineage[first:] if each not in anchors))


def issuers_asked(issuer: bytes, serial: int, anchors: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Which of the anchors a GetCRL asks about (MSG-51).

    It names a certificate whose issuer's list is wanted; some clients name the CA's own certificate instead, which is
    read so only where no anchor has the issuer's name.

    Args:
        issuer: an encoded name.

    Raises:
        ScepError: the name cannot be read.
    """
    anchors = tuple(anchors)
    name = Name.parse(der.parse(issuer))
    found = tuple(each for each in anchors if each.subject.matches(name))
    return found or tuple(each for each in anchors if CertificateName(issuer, serial).names(each))


def powers(
    certificate: Certificate, infrastructure: Container[Certificate], *, agent: bool = False
) -> Iterator[tuple[str, str]]:
    """Why a certificate speaks for no device, as a path and a sentence each: it has powers, or lacks one (AC-055).

    Args:
        infrastructure: certificates of the RA's own.
        agent: whether it is known to be an enrolment agent's, which is no reason then.
    """
    if certificate in infrastructure:
        yield "signer", "is the RA's own certificate"
    if certificate.is_ca:
        yield "signer", "is a CA certificate"
    purposes = certificate.extended_key_usage
    if not agent and purposes is not None and REQUEST_AGENT in purposes:
        yield "signer.extendedKeyUsage", "is an enrolment agent's certificate"
    if certificate.key_usage is not None and "digitalSignature" not in certificate.key_usage:
        yield "signer.keyUsage", "lacks digitalSignature"


def weaknesses(certificate: Certificate, digest: Digest) -> Iterator[tuple[str, str]]:
    """Whether a message's signature, made with *digest*, or its signer's certificate could be forged."""
    if digest in WEAK or certificate.signature_digest in WEAK:
        yield "signer.signature", "rests on SHA-1 or MD5"


def standing(revocation: Revocation) -> Iterator[tuple[str, str]]:
    """Whether a certificate is revoked, or may be: what is not known is denied (AC-049)."""
    if revocation is Revocation.REVOKED:
        yield "signer.revocation", "is revoked"
    elif revocation is Revocation.UNKNOWN:
        yield "signer.revocation", "may be revoked: there is no list of its CA's that is good now"
