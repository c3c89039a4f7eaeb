"""What clients will not like about an RA's certificates (CERT-06, CERT-07, RA-03, SEC-03).

What no client can work with is an error, what some stumble over a warning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from scepra.errors import ScepError
from scepra.scep import oid
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Generation

SMALLEST = 2048
EXPIRING = timedelta(days=30)
_SIGN, _ENCRYPT = "digitalSignature", "keyEncipherment"
_WINDOWS_PURPOSES = frozenset(("1.3.6.1.5.5.7.3.1", "1.3.6.1.4.1.311.20.2.1"))


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing about one certificate: its ``role`` is "both", "signing" or "encryption"."""

    role: str
    sentence: str
    severity: str = "error"


def lint(generation: Generation, issuers: Collection[Certificate], now: datetime) -> Iterator[Remark]:
    """Judge an RA's certificates as its clients will.

    Args:
        generation: the RA's certificates.
        issuers: the upstream's CA certificates, as far as they are known; none known, nothing is said about chains.
        now: the time of judgement, UTC.
    """
    signing, encryption = generation.signing.certificate, generation.encryption.certificate
    dual = signing == encryption
    if dual or signing.public_key.same_key(encryption.public_key):
        yield Remark(
            "both" if dual else "encryption",
            "one key signs and decrypts: a decryption oracle could forge answers; two are safer (SEC-03)",
            "warning",
        )
    for role, certificate in (("both", signing),) if dual else (("signing", signing), ("encryption", encryption)):
        try:
            yield from (Remark(role, *said) for said in _certificate(role, certificate, now))
            if issuers and not _issued(certificate, issuers):
                yield Remark(
                    role,
                    "was not issued by the upstream's CA itself: clients that check it refuse it (CERT-07)",
                    "warning",
                )
        except ScepError as error:
            yield Remark(role, f"cannot be read: {error.reason}")


def _certificate(role: str, certificate: Certificate, now: datetime) -> Iterator[tuple[str, str]]:
    yield from suitability(role, certificate)
    yield from validity(certificate, now)


def suitability(role: str, certificate: Certificate) -> Iterator[tuple[str, str]]:
    """What clients will not like about a certificate, whenever it is valid: sentences without a subject, and their
    severities."""
    key = certificate.public_key
    if certificate.is_ca:
        yield "is a CA certificate: the CA's key has no place here (RA-03)", "error"
    elif certificate.extension(oid.BASIC_CONSTRAINTS) is None:
        yield "lacks basicConstraints with CA:FALSE (CERT-06)", "warning"
    if role != "signing" and not key.encrypts:
        yield f"is for a key of type {key.kind}: clients can encrypt to RSA only", "error"
    elif key.kind == "RSA" and key.bits < SMALLEST:
        yield f"is for an RSA key of {key.bits} bits, fewer than {SMALLEST} (CERT-06)", "error"
    elif key.kind != "RSA":
        yield f"is for a key of type {key.kind}: most clients verify RSA signatures only", "warning"
    if certificate.subject_key_identifier is None:
        yield "lacks a subjectKeyIdentifier (CERT-06)", "warning"
    purposes = certificate.extended_key_usage
    if purposes is None or not purposes & _WINDOWS_PURPOSES:
        yield (
            "lacks the purposes serverAuth and certificateRequestAgent: Windows wants one of them (CERT-06)",
            "warning",
        )
    yield from _usage(role, certificate)


def _usage(role: str, certificate: Certificate) -> Iterator[tuple[str, str]]:
    usage, extension = certificate.key_usage, certificate.extension(oid.KEY_USAGE)
    if usage is None or extension is None:
        yield "lacks keyUsage: Apple's devices then encrypt to another certificate (CERT-06)", "warning"
        return
    if not extension.critical:
        yield "has a keyUsage that is not critical (CERT-06)", "warning"
    needed = {"both": {_SIGN, _ENCRYPT}, "signing": {_SIGN}, "encryption": {_ENCRYPT}}[role]
    for name in sorted(needed - usage):
        yield f"has a keyUsage without {name}", "error"
    for name in sorted(({_SIGN, _ENCRYPT} - needed) & usage):
        yield f"has a keyUsage with {name}, which belongs to the other certificate (CERT-06)", "warning"


def validity(certificate: Certificate, now: datetime) -> Iterator[tuple[str, str]]:
    """What is to be said of a certificate's validity: sentences without a subject, and their severities."""
    start, end = certificate.not_before, certificate.not_after
    if start is None or end is None:
        yield "has a validity that cannot be read", "error"
    elif now < start:
        yield f"is not valid before {start:%Y-%m-%d %H:%M} UTC", "error"
    elif now > end:
        yield f"expired on {end:%Y-%m-%d %H:%M} UTC", "error"
    elif now > end - EXPIRING:
        yield f"expires on {end:%Y-%m-%d %H:%M} UTC", "warning"


def _issued(certificate: Certificate, issuers: Collection[Certificate]) -> bool:
    return any(
        issuer.is_ca and certificate.issuer.matches(issuer.subject) and certificate.signed_by(issuer.public_key)
        for issuer in issuers
    )
