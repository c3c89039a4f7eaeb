"""A view of X.509 certificates that survives legacy devices (RFC 5280; CMS-13, CMS-14, CERT-11).

Fields are read when asked for and nothing is judged here. What a strict library refuses to load (32-octet serials,
version 1, illegal characters in PrintableString, MD5 signatures) still has an issuer, a serial number and a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

from scepra.errors import Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import Digest
from scepra.scep.name import Name
from scepra.scep.publickey import ECDSA_SIGNATURES, RSA_SIGNATURES, PublicKeyInfo, pss_padding, verify_signature

KEY_USAGES = (
    "digitalSignature",
    "nonRepudiation",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "keyCertSign",
    "cRLSign",
    "encipherOnly",
    "decipherOnly",
)
MAXIMUM = 64 * 1024
_ANY_DIGEST = frozenset(Digest)


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension: its identifier's content octets, whether it is critical, its value's octets."""

    oid: bytes
    critical: bool
    value: bytes


def parse_extensions(node: der.Node) -> tuple[Extension, ...]:
    """Read ``Extensions``; an explicit ``critical FALSE`` is legal here.

    Raises:
        Malformed: it is no SEQUENCE of extensions.
    """
    extensions = []
    for item in node.expect(der.SEQUENCE).children():
        parts = item.sequence(2)
        critical = len(parts) == 3 and parts[1].expect(0x01).content != b"\0"
        if len(parts) > 3:
            raise Malformed("an extension with too many elements")
        extensions.append(Extension(parts[0].oid(), critical, parts[-1].octets()))
    return tuple(extensions)


def parse_key_usage(value: bytes) -> frozenset[str]:
    """The names of the bits set in a keyUsage extension's value."""
    bits = der.parse(value).expect(der.BIT_STRING).content[1:]
    return frozenset(
        name for index, name in enumerate(KEY_USAGES) if index // 8 < len(bits) and bits[index // 8] << index % 8 & 0x80
    )


class Certificate:
    """A certificate as received.

    ``der`` is the whole encoding, ``serial_der`` its INTEGER, ``issuer_der`` and ``subject_der`` its names' encodings,
    ``spki`` its SubjectPublicKeyInfo. Properties raise :class:`Malformed` where what they read is not what it should
    be.
    """

    def __init__(self, node: der.Node) -> None:
        """Read a certificate where it stands in an encoding that has been walked, as :meth:`parse` does alone.

        Raises:
            Malformed: as for :meth:`parse`.
        """
        if node.end - node.start > MAXIMUM:
            raise Malformed("the encoding is too long")
        tbs, algorithm, signature = node.sequence(3)[:3]
        fields = tbs.sequence(6)
        at = 1 if fields[0].tag == 0xA0 else 0
        if len(fields) < at + 6:
            raise Malformed("a certificate that is too short")
        self.der = node.raw
        self.serial_der = fields[at].expect(der.INTEGER).raw
        self.serial = fields[at].integer()
        self._issuer, self._validity, self._subject = fields[at + 2], fields[at + 3], fields[at + 4]
        self.issuer_der = self._issuer.expect(der.SEQUENCE).raw
        self.subject_der = self._subject.expect(der.SEQUENCE).raw
        self.spki = fields[at + 5].expect(der.SEQUENCE).raw
        self._extensions = [node for field in fields[at + 6 :] if field.tag == 0xA3 for node in field.children()]
        self._tbs, self._algorithm, self._signature = tbs, algorithm, signature

    @classmethod
    def parse(cls, encoding: bytes) -> Certificate:
        """Read one certificate.

        Raises:
            Malformed: it is none, or larger than 64 KiB.
        """
        return cls(der.parse(encoding))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate {self.fingerprint()[:16]}>"

    @cached_property
    def issuer(self) -> Name:
        """The issuer's name."""
        return Name.parse(self._issuer)

    @cached_property
    def subject(self) -> Name:
        """The subject's name."""
        return Name.parse(self._subject)

    @cached_property
    def public_key(self) -> PublicKeyInfo:
        """The subject's key, unjudged."""
        return PublicKeyInfo.parse(self.spki)

    @cached_property
    def extensions(self) -> tuple[Extension, ...]:
        """All extensions, in order; none where there are none."""
        return parse_extensions(self._extensions[0]) if self._extensions else ()

    def extension(self, identifier: bytes) -> Extension | None:
        """The extension of that identifier (content octets), or None."""
        for extension in self.extensions:
            if extension.oid == identifier:
                return extension
        return None

    @cached_property
    def key_usage(self) -> frozenset[str] | None:
        """The names in keyUsage, or None where the extension is absent."""
        extension = self.extension(oid.KEY_USAGE)
        return None if extension is None else parse_key_usage(extension.value)

    @cached_property
    def is_ca(self) -> bool:
        """Whether basicConstraints says cA TRUE; a certificate of version 1 is none."""
        extension = self.extension(oid.BASIC_CONSTRAINTS)
        if extension is None:
            return False
        parts = der.parse(extension.value).sequence()
        return bool(parts) and parts[0].tag == 0x01 and parts[0].content != b"\0"

    @cached_property
    def path_length(self) -> int | None:
        """basicConstraints' pathLenConstraint, or None."""
        extension = self.extension(oid.BASIC_CONSTRAINTS)
        parts = der.parse(extension.value).sequence() if extension is not None else []
        return parts[-1].integer() if parts and parts[-1].tag == der.INTEGER else None

    @cached_property
    def extended_key_usage(self) -> frozenset[str] | None:
        """The purposes in extKeyUsage, dotted, or None where the extension is absent."""
        extension = self.extension(oid.EXTENDED_KEY_USAGE)
        if extension is None:
            return None
        return frozenset(oid.dotted(node.oid()) for node in der.parse(extension.value).sequence())

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        """The subjectKeyIdentifier, or None."""
        extension = self.extension(oid.SUBJECT_KEY_IDENTIFIER)
        return None if extension is None else der.parse(extension.value).octets()

    @cached_property
    def not_before(self) -> datetime | None:
        """Start of validity in UTC; None where it cannot be read."""
        return parse_time(self._validity.sequence(2)[0])

    @cached_property
    def not_after(self) -> datetime | None:
        """End of validity in UTC; None where it cannot be read."""
        return parse_time(self._validity.sequence(2)[1])

    def valid_at(self, now: datetime) -> bool:
        """Whether *now* lies within the validity; unreadable times are never valid."""
        return self.not_before is not None and self.not_after is not None and self.not_before <= now <= self.not_after

    def fingerprint(self, digest: str = "sha256") -> str:
        """Lower-case hex digest of the whole encoding, as people compare it (CERT-10)."""
        return hashlib.new(digest, self.der, usedforsecurity=False).hexdigest()

    @cached_property
    def signature_digest(self) -> Digest | None:
        """The digest its signature uses, or None for an algorithm that is unknown or names none.

        Raises:
            ScepError: badAlg, RSASSA-PSS parameters that are refused.
        """
        algorithm, parameters = self._signature_algorithm()
        if algorithm == oid.RSASSA_PSS:
            return pss_padding(parameters)[0]
        return RSA_SIGNATURES.get(algorithm) or ECDSA_SIGNATURES.get(algorithm)

    def _signature_algorithm(self) -> tuple[bytes, der.Node | None]:
        parts = self._algorithm.sequence(1)
        return parts[0].oid(), parts[1] if len(parts) > 1 else None

    def signed_by(self, key: PublicKeyInfo, allowed: frozenset[Digest] = _ANY_DIGEST) -> bool:
        """Whether its signature verifies with *key*; legacy digests count unless *allowed* says otherwise."""
        try:
            algorithm, parameters = self._signature_algorithm()
            signature = self._signature.expect(der.BIT_STRING).content[1:]
            verify_signature(key, algorithm, parameters, signature, self._tbs.raw, allowed=allowed)
        except ScepError:
            return False
        return True

    @cached_property
    def is_self_signed(self) -> bool:
        """Whether its signature verifies with its own key, whatever its names say (MSG-20)."""
        return self.signed_by(self.public_key)


_CLOCK = rb"(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?(?:Z|([+-]\d{4}))?"
_TIMES = {
    der.UTC_TIME: re.compile(rb"(\d{6})" + _CLOCK),
    der.GENERALIZED_TIME: re.compile(rb"(\d{8})" + _CLOCK),
}


def parse_time(node: der.Node) -> datetime | None:
    """A UTCTime or GeneralizedTime in UTC, fractions of a second dropped; None where it is neither, or cannot be
    read."""
    form = _TIMES.get(node.tag)
    match = form.fullmatch(node.content) if form is not None else None
    if match is None:
        return None
    date, hour, minute, second, zone = match.groups()
    year = int(date[:-4])
    if node.tag == der.UTC_TIME:
        year += 1900 if year >= 50 else 2000
    try:
        moment = datetime(year, int(date[-4:-2]), int(date[-2:]), int(hour), int(minute), int(second or 0), tzinfo=UTC)
        if zone is None:
            return moment
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        return moment - offset if zone[:1] == b"+" else moment + offset
    except (ValueError, OverflowError):
        return None


def choose_encryption(certificates: Iterable[Certificate]) -> Certificate | None:
    """The certificate a request is encrypted to, out of a GetCACert answer (CERT-11); None where there is no RSA key.

    By keyUsage, never by position or extended key usage: an RA's before a CA's, keyEncipherment before no keyUsage
    before dataEncipherment, and the only certificate whatever it says.
    """
    known = list(certificates)
    usable = [certificate for certificate in known if certificate.public_key.encrypts]
    if len(known) == 1:
        return usable[0] if usable else None

    def rank(certificate: Certificate) -> int | None:
        usage = certificate.key_usage
        if not certificate.is_ca:
            if usage is None:
                return 1
            return 0 if "keyEncipherment" in usage else 2 if "dataEncipherment" in usage else None
        return 3 if usage is not None and "keyEncipherment" in usage else None

    ranked = [(rank(certificate), index) for index, certificate in enumerate(usable)]
    best = min(((place, index) for place, index in ranked if place is not None), default=None)
    return usable[best[1]] if best is not None else None


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")


def split_pem(content: bytes) -> tuple[bytes, ...]:
    """What the certificates in a PEM file decode to, in its order; *content* itself where it has none, since it is DER.

    Raises:
        Malformed: a block is no base64.
    """
    try:
        blocks = [base64.b64decode(b"".join(block.split()), validate=True) for block in _PEM.findall(content)]
    except binascii.Error as error:
        raise Malformed("a certificate in PEM that is no base64") from error
    return tuple(blocks) or (content,)
