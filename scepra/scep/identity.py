"""The RA's keys and certificates as the protocol uses them: what signs, what opens, and which generation a message
chose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from scepra.errors import ScepError
from scepra.scep import der
from scepra.scep.algorithm import Digest, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.name import Name
from scepra.scep.publickey import PublicKeyInfo

_V15 = padding.PKCS1v15()
OAEP_PADDINGS = {
    KeyTransport.OAEP_SHA1: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    KeyTransport.OAEP_SHA256: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}


class RAKey(Protocol):
    """A private key, wherever it lives. One outside this process raises KeyUnavailable when it cannot be reached."""

    @property
    def public(self) -> PublicKeyInfo:
        """Its public half."""

    def sign(self, data: bytes, digest: Digest) -> bytes:
        """A signature over *data*: PKCS#1 v1.5 for RSA, ECDSA for EC."""

    def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        """The transported octets; a failure may be a ValueError or any octets at all: its caller treats both alike."""


class SoftwareKey:
    """An RSA or EC key in this process's memory."""

    def __init__(self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = PublicKeyInfo.parse(
            key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, data: bytes, digest: Digest) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, _V15, digest.hash)
        return self._key.sign(data, ec.ECDSA(digest.hash))

    def decrypt(self, ciphertext: bytes, transport: KeyTransport) -> bytes:
        if not isinstance(self._key, rsa.RSAPrivateKey):
            raise ValueError("this key cannot decrypt")
        return self._key.decrypt(ciphertext, OAEP_PADDINGS.get(transport, _V15))


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and the key it is for."""

    certificate: Certificate
    key: RAKey


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of an RA: what signs its answers and what opens requests; both may be one identity."""

    signing: Identity
    encryption: Identity


@dataclass(frozen=True, slots=True)
class CertificateName:
    """A certificate as a RecipientInfo or SignerInfo names it: by issuer (its encoding) and serial, or by key
    identifier."""

    issuer: bytes | None = None
    serial: int | None = None
    key_identifier: bytes | None = None

    def names(self, certificate: Certificate) -> bool:
        """Whether it names *certificate*: issuers compared by encoding, then by RFC 5280's rules (CMS-13, CMS-21)."""
        if self.issuer is None:
            return self.key_identifier is not None and self.key_identifier == certificate.subject_key_identifier
        return self.serial == certificate.serial and (
            self.issuer == certificate.issuer_der or Name.parse(der.parse(self.issuer)).matches(certificate.issuer)
        )


class NotOurs(ScepError):
    """A message that no generation known here can open."""


class Keyring:
    """Every live generation of one RA, the current one first."""

    def __init__(self, generations: Iterable[Generation]) -> None:
        self.generations = tuple(generations)
        if not self.generations:
            raise ValueError("a keyring without a generation")

    @property
    def current(self) -> Generation:
        """The generation that new clients are given."""
        return self.generations[0]

    def valid_at(self, now: datetime) -> bool:
        """Whether the current generation's certificates are valid; if not, they have expired, or *now* is wrong."""
        return all(each.certificate.valid_at(now) for each in (self.current.signing, self.current.encryption))

    def generation_for(self, recipients: Iterable[CertificateName | None]) -> tuple[int, Generation]:
        """Which recipient is ours, by its position, and of which generation (CMS-21, CERT-35).

        Raises:
            NotOurs: badRequest; none is.
            ScepError: badRequest; more than one is (AC-035).
        """
        # Generations may share an encryption certificate: each recipient counts once, for the newest.
        found: dict[int, Generation] = {}
        for position, recipient in enumerate(recipients):
            for generation in self.generations:
                if recipient is not None and recipient.names(generation.encryption.certificate):
                    found.setdefault(position, generation)
        if len(found) != 1:
            if found:
                raise ScepError("encrypted to more than one of the RA's certificates")
            raise NotOurs("not encrypted to the RA's certificate (to the CA's instead?)")
        return next(iter(found.items()))


class Identities(Protocol):
    """What an RA's identities are at this moment: they change while it runs."""

    @property
    def keyring(self) -> Keyring:
        """What opens and signs now."""

    @property
    def upcoming(self) -> Generation | None:
        """The generation that opens requests already, and that new clients are not given yet."""

    async def seek(self) -> bool:
        """Look whether there are more than are known here; whether there are."""


@dataclass(frozen=True, slots=True)
class FixedIdentities:
    """Identities that stay what they are."""

    keyring: Keyring
    upcoming: None = None

    async def seek(self) -> bool:
        """There are never more."""
        return False
