"""The rules about keys and signatures (P10-12, AC-086, AC-088)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from scepra.enrolment import Violation
from scepra.errors import FailInfo
from scepra.policy.model import KeySpec, SignatureSpec
from scepra.policy.published import PUBLISHED
from scepra.policy.rule import NOT_NAMED, Request
from scepra.policy.weakness import listed, weakness
from scepra.scep.publickey import PublicKeyInfo


@dataclass(frozen=True, slots=True)
class Key:
    """Kind, size and soundness of the key to be certified.

    Kind and size are badAlg: anyone can see them. A weak or refused key is badRequest.
    """

    name: ClassVar[str] = "key"
    spec: KeySpec

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        key = request.csr.public_key
        if key.kind == "RSA":
            yield from self._check_rsa(key)
        elif key.kind == "EC":
            if key.curve not in self.spec.ec:
                yield self._refused("ec", f"the curve {key.curve}: {NOT_NAMED}" if key.curve else "an unknown curve")
        elif key.kind != "Ed25519" or not self.spec.ed25519:
            yield self._refused("", f"a key of the kind {key.kind}: {NOT_NAMED}")
        if key.sha256.hex() in self.spec.refuse:
            yield Violation(self.name, "key.refuse", "a key that is refused by its fingerprint")
        if self.spec.refuse_file and not self.spec.refuse_file.isdisjoint(listed(key)):
            yield Violation(self.name, "key.refuse-file", "a key that is in a list of refused ones")
        if key.sha256 in PUBLISHED:
            yield Violation(self.name, "key", "a key that is published, in a standard or in tests", structural=True)

    def look(self, request: Request) -> str:
        """Kind, size and fingerprint."""
        key = request.csr.public_key
        if key.kind == "RSA":
            short = key.exponent is not None and key.exponent.bit_length() <= 64
            what = f"RSA, {key.bits} bits, exponent {key.exponent if short else 'beyond 64 bits'}"
        else:
            what = f"EC, {key.curve or 'unknown curve'}" if key.kind == "EC" else key.kind
        return f"{what}, SHA-256 {key.sha256.hex()}"

    def _check_rsa(self, key: PublicKeyInfo) -> Iterator[Violation]:
        spec, modulus, exponent = self.spec.rsa, key.modulus, key.exponent
        if spec is None or modulus is None or exponent is None:
            yield self._refused("rsa", f"an RSA key: {NOT_NAMED}")
            return
        if not spec.min <= key.bits <= spec.max:
            yield self._refused("rsa", f"a modulus of {key.bits} bits, expected {spec.min} to {spec.max}")
            return
        if not spec.exponent <= exponent < 2**32 or not exponent & 1:
            yield self._refused(
                "rsa.exponent", f"an exponent that is not an odd number from {spec.exponent} to 4294967295"
            )
        if not modulus & 1:
            yield replace(self._refused("rsa", "an even modulus"), structural=True)
        elif sentence := weakness(modulus):
            yield Violation(self.name, "key.rsa", f"a modulus that {sentence}", structural=True)

    def _refused(self, path: str, sentence: str) -> Violation:
        return Violation(self.name, f"key.{path}" if path else "key", sentence, FailInfo.BAD_ALG)


@dataclass(frozen=True, slots=True)
class Signature:
    """The digest of the request's own signature."""

    name: ClassVar[str] = "signature"
    spec: SignatureSpec

    def check(self, request: Request) -> Iterator[Violation]:
        """Everything that the rule objects to."""
        digest = request.csr.signature_digest
        if digest is None or digest.value not in self.spec.digests:
            said = "an unknown digest" if digest is None else f"{digest.value} is not among the digests"
            yield Violation(self.name, "signature.digests", said, FailInfo.BAD_ALG)

    def look(self, request: Request) -> str:
        """The digest."""
        digest = request.csr.signature_digest
        return "unknown" if digest is None else digest.value
