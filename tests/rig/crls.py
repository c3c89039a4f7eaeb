"""Certificate revocation lists of any shape, and still the signature is right."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from scepra.scep import der
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate
from tests import csrs
from tests.rig.forge import sign, signature_algorithm

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
REASON, DELTA, ISSUING_POINT, CERTIFICATE_ISSUER = (f"2.5.29.{arc}" for arc in (21, 27, 28, 29))


def time(moment: datetime) -> bytes:
    """A UTCTime."""
    return der.tlv(der.UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode("ascii"))


def entry(serial: int | bytes, *extensions: bytes, date: bytes | None = None) -> bytes:
    """An entry; a serial number in octets is a whole element."""
    number = der.integer(serial) if isinstance(serial, int) else serial
    said = der.sequence(*extensions) if extensions else b""
    return der.sequence(number, time(NOW - DAY) if date is None else date, said)


def reason(code: int) -> bytes:
    """A reasonCode."""
    return csrs.extension(REASON, der.tlv(0x0A, bytes((code,))))


def issuing_point(*parts: bytes) -> bytes:
    """An issuingDistributionPoint."""
    return csrs.extension(ISSUING_POINT, der.sequence(*parts), critical=True)


def full_name(*urls: str) -> bytes:
    """A DistributionPointName of URLs, in its explicit tag."""
    return der.tlv(0xA0, der.tlv(0xA0, *(der.tlv(0x86, url.encode()) for url in urls)))


def distribution_points(*urls: str) -> bytes:
    """A certificate's cRLDistributionPoints, one point for each."""
    return csrs.extension("2.5.29.31", der.sequence(*(der.sequence(full_name(url)) for url in urls)))


def crl(
    key: csrs.PrivateKey,
    issuer: Certificate | bytes,
    entries: Iterable[bytes | int] = (),
    *extensions: bytes,
    this_update: datetime | bytes = NOW - timedelta(hours=1),
    next_update: datetime | bytes = NOW + DAY,
    number: int | None = 1,
    version: bytes = der.integer(1),
    digest: Digest = Digest.SHA256,
    algorithm: bytes | None = None,
    signature: bytes | None = None,
    more: bytes = b"",
) -> bytes:
    """A list.

    Args:
        key: signs it.
        issuer: whose name it bears, or that name.
        entries: what is on it, or serial numbers.
        this_update, next_update: moments, or whole elements.
        algorithm: what stands in the signed part, if not what is true.
        more: elements at the end of the signed part.
    """
    listed = [entry(each) if isinstance(each, int) else each for each in entries]
    extensions = (*((csrs.extension("2.5.29.20", der.integer(number)),) if number is not None else ()), *extensions)
    true = signature_algorithm(key, digest)
    signed = der.sequence(
        version,
        algorithm or true,
        issuer.subject_der if isinstance(issuer, Certificate) else issuer,
        *(each if isinstance(each, bytes) else time(each) for each in (this_update, next_update)),
        der.sequence(*listed) if listed else b"",
        der.explicit(0, der.sequence(*extensions)) if extensions else b"",
        more,
    )
    made = sign(key, signed, digest) if signature is None else signature
    return der.sequence(signed, true, der.bit_string(made))


def pem(encoding: bytes) -> bytes:
    """A list in PEM."""
    return csrs.pem(encoding, "X509 CRL")
