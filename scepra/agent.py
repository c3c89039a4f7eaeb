"""Agents: certificates that may enrol others, each one listed; nothing else makes an agent (AC-055).

An agent vouches for the request: its signature takes the place of the challenge and of the binding between the signer's
key and the request's (MSG-20). The request is still signed by its own key, the policy still judges it, and the answer
is sealed to the agent, who signed (I6).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime

from scepra.enrolment import Violation
from scepra.errors import ScepError
from scepra.provenance import WEAK, powers
from scepra.scep.algorithm import Digest
from scepra.scep.certificate import Certificate


@dataclass(frozen=True, slots=True)
class Agents:
    """Who may enrol others on a profile.

    Attributes:
        certificates: fingerprints, the SHA-256 of whole certificates.
        keys: the SHA-256 of SubjectPublicKeyInfos: any certificate of such a key, self-signed ones too.
        infrastructure: certificates that vouch for nobody: the RA's own.
    """

    certificates: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()
    infrastructure: Container[Certificate] = frozenset()

    def lists(self, signer: Certificate) -> bool:
        """Whether a certificate is an agent's."""
        return bytes.fromhex(signer.fingerprint()) in self.certificates or signer.public_key.sha256 in self.keys

    def violations(self, signer: Certificate, digest: Digest, now: datetime) -> tuple[Violation, ...]:
        """Everything that keeps an agent's certificate from vouching now.

        Args:
            digest: of the message's signature.
            now: UTC.
        """
        try:
            return tuple(
                Violation("on-behalf", path, sentence) for path, sentence in self._violations(signer, digest, now)
            )
        except ScepError as error:
            return (Violation("on-behalf", "signer", error.reason),)

    def _violations(self, signer: Certificate, digest: Digest, now: datetime) -> Iterator[tuple[str, str]]:
        yield from powers(signer, self.infrastructure, agent=True)
        if digest in WEAK:
            yield "signer.signature", "rests on SHA-1 or MD5"
        if not signer.valid_at(now):
            yield "signer.validity", "is over, has not begun, or cannot be read"
