"""What a SCEP server says of itself, and what a client makes of it (RFC 8894, 3.5; conformance CERT-11, CERT-14)."""

from __future__ import annotations

from dataclasses import dataclass

from scepra.scep.algorithm import Algorithms, ContentCipher, Digest
from scepra.scep.capabilities import Capabilities
from scepra.scep.certificate import Certificate, choose_encryption


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a server says of itself: its capabilities, and the certificates of its GetCACert answer in their order."""

    capabilities: Capabilities
    certificates: tuple[Certificate, ...]

    @property
    def encryption(self) -> Certificate:
        """Whom requests are encrypted to (CERT-11); a CA whose key cannot decrypt is sent a password's envelope."""
        return choose_encryption(self.certificates) or self.certificates[0]

    @property
    def issuer(self) -> Certificate:
        """The CA, whoever its encryption certificate belongs to."""
        return next((item for item in self.certificates if item.is_ca), self.encryption)

    @property
    def algorithms(self) -> Algorithms:
        """The strongest that are offered of what every server may know; the floor of RFC 8894, 7.5 if nothing is."""
        digest = next((item for item in (Digest.SHA256, Digest.SHA512) if self.capabilities.digest(item)), Digest.SHA1)
        aes = self.capabilities.cipher(ContentCipher.AES128_CBC)
        return Algorithms(digest, ContentCipher.AES128_CBC if aes else ContentCipher.DES_EDE3_CBC)
