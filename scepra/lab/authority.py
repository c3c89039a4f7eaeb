"""A small certification authority: real keys, real certificates, no judgement of what it is asked to certify."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from scepra.lab.key import PrivateKey, new_key
from scepra.scep import oid
from scepra.scep.certificate import Certificate, Extension
from scepra.scep.certification import (
    Validity,
    authority_key_identifier,
    basic_constraints,
    build_certificate,
    build_crl,
    extended_key_usage,
    key_usage,
    name,
    subject_key_identifier,
)
from scepra.scep.csr import CertificationRequest
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.publickey import PublicKeyInfo

CERTIFICATE_REQUEST_AGENT = oid.encode("1.3.6.1.4.1.311.20.2.1")
CA_LIFETIME = timedelta(days=3650)
RA_LIFETIME = timedelta(days=730)
LIFETIME = timedelta(days=365)
REMEMBERED = 4096

# It signs certificates, and also answers clients itself where it has no RA certificates of its own.
_CA_USAGES = ("digitalSignature", "keyEncipherment", "keyCertSign", "cRLSign")
_CA_POWERS = frozenset(("keyCertSign", "cRLSign"))
# What a request may ask for and does not get: these say what the issuer says, not what the subject wants.
_ISSUERS_OWN = frozenset(
    (
        oid.BASIC_CONSTRAINTS,
        oid.KEY_USAGE,
        oid.SUBJECT_KEY_IDENTIFIER,
        oid.AUTHORITY_KEY_IDENTIFIER,
        oid.encode("2.5.29.30"),  # nameConstraints
        oid.encode("2.5.29.33"),  # policyMappings
        oid.encode("2.5.29.36"),  # policyConstraints
        oid.encode("2.5.29.54"),  # inhibitAnyPolicy
    )
)


class RAUsage(enum.Enum):
    """What an RA certificate is for; the value is its keyUsage (CERT-06)."""

    DUAL = ("digitalSignature", "keyEncipherment")
    SIGNING = ("digitalSignature",)
    ENCRYPTION = ("keyEncipherment",)


Key = TypeVar("Key")
Value = TypeVar("Value")


def remember(memory: dict[Key, Value], key: Key, value: Value) -> None:
    """Put a value last into a dictionary that keeps its last :data:`REMEMBERED`."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class Authority:
    """A CA with one key and one self-signed certificate, and what it has issued so far.

    ``issued`` has the last :data:`REMEMBERED` certificates since the start, by serial number.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Callable[[], datetime] = utc_now,
        *,
        lifetime: timedelta = LIFETIME,
        begins: datetime | None = None,
    ) -> None:
        """
        Args:
            identity: the CA's certificate and its key.
            clock: the time of day, UTC.
            lifetime: of the certificates that it issues to clients.
            begins: from when on its certificates are good, if it issues some before; now, if None.
        """
        self.identity = identity
        self.issued: dict[int, Certificate] = {}
        self.lifetime = lifetime
        self._clock = clock
        self._begins = begins

    @classmethod
    def create(
        cls,
        common_name: str = "scepra lab CA",
        key: PrivateKey | None = None,
        clock: Callable[[], datetime] = utc_now,
        *,
        begins: datetime | None = None,
        lifetime: timedelta = CA_LIFETIME,
    ) -> Authority:
        """A new CA, of a new RSA-2048 key if it is given none.

        Args:
            begins: from when on its certificate is good, and whatever it issues before; now, if None.
            lifetime: for how long it is.
        """
        software = SoftwareKey(new_key() if key is None else key)
        subject = name(common_name)
        certificate = build_certificate(
            subject=subject,
            public_key=software.public.der,
            issuer=subject,
            signer=software,
            validity=Validity.of(clock(), lifetime) if begins is None else Validity(begins, begins + lifetime),
            extensions=(
                basic_constraints(ca=True),
                key_usage(_CA_USAGES if software.public.kind == "RSA" else ("digitalSignature", *_CA_POWERS)),
                subject_key_identifier(software.public),
            ),
        )
        return cls(Identity(certificate, software), clock, begins=begins)

    @property
    def certificate(self) -> Certificate:
        """The CA's own certificate."""
        return self.identity.certificate

    @property
    def now(self) -> datetime:
        """The CA's time, UTC."""
        return self._clock()

    def issue(self, csr: CertificationRequest, lifetime: timedelta | None = None) -> Certificate:
        """Certify a request whose proof of possession has been verified; as long as usual, if *lifetime* is None.

        Subject, key and extensions are copied octet by octet, except for what would make the subject a CA.
        """
        extensions = (
            basic_constraints(ca=False),
            key_usage(_usages(csr)),
            *(extension for extension in csr.extensions if extension.oid not in _ISSUERS_OWN),
        )
        return self.certify(csr.subject.der, csr.public_key, extensions, lifetime or self.lifetime)

    def issue_ra(self, common_name: str, usage: RAUsage = RAUsage.DUAL, key: PrivateKey | None = None) -> Identity:
        """A certificate for a registration authority as clients expect it (CERT-06, CERT-07), and its key."""
        software = SoftwareKey(new_key() if key is None else key)
        extensions = (
            basic_constraints(ca=False),
            key_usage(usage.value),
            extended_key_usage(CERTIFICATE_REQUEST_AGENT),
        )
        return Identity(self.certify(name(common_name), software.public, extensions, RA_LIFETIME), software)

    def certify(
        self, subject: bytes, public_key: PublicKeyInfo, extensions: tuple[Extension, ...], lifetime: timedelta
    ) -> Certificate:
        """Sign a certificate with exactly these contents, key identifiers added, and remember it.

        A negative *lifetime* makes one that has expired. What a CA issues before its own time is good from then on.
        """
        now, begins = self.now, self._begins
        expired = Validity(now + 2 * lifetime, now + lifetime)
        validity = Validity.of(now, lifetime) if lifetime > timedelta() else expired
        if begins is not None and begins > now:
            validity = Validity(begins, begins + lifetime)
        certificate = build_certificate(
            subject=subject,
            public_key=public_key.der,
            issuer=self.certificate.subject_der,
            signer=self.identity.key,
            validity=validity,
            extensions=(
                *extensions,
                subject_key_identifier(public_key),
                authority_key_identifier(self.certificate),
            ),
        )
        remember(self.issued, certificate.serial, certificate)
        return certificate

    def has_issued(self, certificate: Certificate) -> bool:
        """Whether a certificate is this CA's, from this run or an earlier one."""
        ours = certificate.issuer.matches(self.certificate.subject) and not certificate.is_ca
        return ours and certificate.signed_by(self.certificate.public_key)

    def crl(self) -> bytes:
        """A CRL, signed, good for a day: nothing is ever revoked here."""
        now = self.now
        return build_crl(self.identity, Validity.of(now, timedelta(days=1)), int(now.timestamp()))


def _usages(csr: CertificationRequest) -> Iterator[str]:
    """The key usages asked for, or else what the key can do."""
    asked = (csr.key_usage or frozenset()) - _CA_POWERS
    usual = ("digitalSignature", "keyEncipherment") if csr.public_key.encrypts else ("digitalSignature",)
    return iter(sorted(asked) or usual)
