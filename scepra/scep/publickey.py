"""A public key as the encoding states it, judged before any library loads it, and signatures made with it.

RFC 5280 4.1.2.7, RFC 8017, RFC 5480, RFC 8410; conformance CMS-12, P10-02, P10-12; AC-034, AC-064, AC-086.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from scepra.errors import FailInfo, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import DIGEST_BY_OID, Digest, Floor

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

CURVES = {oid.P256: ("P-256", 256), oid.P384: ("P-384", 384), oid.P521: ("P-521", 521)}
_DSA = oid.encode("1.2.840.10040.4.1")
# A hostile modulus of 131 072 bits has to be read to be refused as what it is (AC-064).
_LIMITS = der.Limits(total=64 * 1024, depth=8, elements=48, integer=32 * 1024)

RSA_SIGNATURES = {
    oid.MD5_RSA: Digest.MD5,
    oid.SHA1_RSA: Digest.SHA1,
    oid.SHA1_RSA_ISO: Digest.SHA1,
    oid.SHA224_RSA: Digest.SHA224,
    oid.SHA256_RSA: Digest.SHA256,
    oid.SHA384_RSA: Digest.SHA384,
    oid.SHA512_RSA: Digest.SHA512,
}
ECDSA_SIGNATURES = {
    oid.ECDSA_SHA1: Digest.SHA1,
    oid.ECDSA_SHA224: Digest.SHA224,
    oid.ECDSA_SHA256: Digest.SHA256,
    oid.ECDSA_SHA384: Digest.SHA384,
    oid.ECDSA_SHA512: Digest.SHA512,
}


class PublicKeyInfo:
    """A SubjectPublicKeyInfo.

    ``der`` is the encoding as received; ``kind`` is "RSA", "EC", "Ed25519", "DSA" or "other"; ``bits`` the size of the
    modulus or field; ``modulus`` and ``exponent`` of an RSA key; ``curve`` the NIST name of an EC key's curve, None for
    another one; ``key_bits`` the BIT STRING's content, what "the same key" means (MSG-20).
    """

    def __init__(self, encoding: bytes) -> None:
        algorithm, key = der.parse(encoding, _LIMITS).sequence(2)[:2]
        parts = algorithm.sequence(1)
        kind = parts[0].oid()
        self.der = encoding
        self.key_bits = key.expect(der.BIT_STRING).content
        self.bits = 0
        self.modulus: int | None = None
        self.exponent: int | None = None
        self.curve: str | None = None
        if kind in (oid.RSA, oid.RSASSA_PSS):
            self.kind = "RSA"
            numbers = der.parse(self.key_bits[1:], _LIMITS).sequence(2)
            self.modulus, self.exponent = numbers[0].integer(), numbers[1].integer()
            self.bits = self.modulus.bit_length() if self.modulus > 0 else 0
        elif kind == oid.EC_PUBLIC_KEY:
            self.kind = "EC"
            if len(parts) > 1 and parts[1].tag == der.OBJECT_IDENTIFIER:
                self.curve, self.bits = CURVES.get(parts[1].content, (None, 0))
        elif kind == oid.ED25519:
            self.kind, self.bits = "Ed25519", 256
        else:
            self.kind = "DSA" if kind == _DSA else "other"

    @classmethod
    @lru_cache(maxsize=16)
    def parse(cls, encoding: bytes) -> PublicKeyInfo:
        """Read an encoding; nothing is computed with the key.

        The last few are remembered: one key stands in a device's certificate and in its request, and is read and loaded
        once for both.

        Raises:
            Malformed: it is no SubjectPublicKeyInfo.
        """
        return cls(encoding)

    @cached_property
    def key(self) -> PublicKey:
        """The key, loaded. Call :meth:`check` first.

        Raises:
            ScepError: badAlg, it is not a key that can be used (a point off its curve, say).
        """
        try:
            key = load_der_public_key(self.der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ScepError("a public key that cannot be used", FailInfo.BAD_ALG) from error
        if not isinstance(key, PublicKey):
            raise ScepError(f"a public key of a refused type ({self.kind})", FailInfo.BAD_ALG)
        return key

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the encoding, 32 octets: what state is keyed by (MSG-03)."""
        return hashlib.sha256(self.der).digest()

    @property
    def encrypts(self) -> bool:
        """Whether a content key can be transported to it."""
        return self.kind == "RSA"

    def same_key(self, other: PublicKeyInfo) -> bool:
        """Whether both are one key; algorithm parameters may be spelt differently (a missing NULL)."""
        return self.kind == other.kind and self.curve == other.curve and self.key_bits == other.key_bits

    def check(self, floor: Floor) -> None:
        """Refuse what the floor refuses, from the numbers alone (AC-064).

        Raises:
            ScepError: badAlg.
        """
        if self.kind == "RSA" and self.modulus is not None and self.exponent is not None:
            smallest, largest = floor.rsa_bits
            if not smallest <= self.bits <= largest:
                raise ScepError(f"an RSA key of {self.bits} bits", FailInfo.BAD_ALG)
            if not self.modulus & 1:
                raise ScepError("an RSA key with an even modulus", FailInfo.BAD_ALG)
            if not (self.exponent & 1 and max(floor.rsa_exponent, 3) <= self.exponent < 2**32):
                raise ScepError("an RSA key with a refused public exponent", FailInfo.BAD_ALG)
        elif self.kind == "EC":
            if self.curve not in floor.curves:
                raise ScepError("an EC key on a refused curve", FailInfo.BAD_ALG)
        elif self.kind != "Ed25519":
            raise ScepError(f"a public key of a refused type ({self.kind})", FailInfo.BAD_ALG)


def verify_signature(
    info: PublicKeyInfo,
    algorithm: bytes,
    parameters: der.Node | None,
    signature: bytes,
    data: bytes,
    *,
    allowed: frozenset[Digest],
    digest: Digest | None = None,
) -> Digest:
    """Verify a signature over *data*.

    Args:
        info: the signer's key, already checked against a floor.
        algorithm: the signatureAlgorithm's object identifier (content octets).
        parameters: its parameters, read for RSASSA-PSS only.
        allowed: the digests that may be used.
        digest: the digest stated beside the signature (SignerInfo.digestAlgorithm); must agree with the algorithm.

    Returns:
        The digest that was used.

    Raises:
        ScepError: badAlg for a refused or contradictory algorithm, badMessageCheck for a signature that does not
            verify.
    """
    used, pss = _digest_of(info, algorithm, parameters, digest)
    if used not in allowed:
        raise ScepError(f"a signature with the refused digest {used.value}", FailInfo.BAD_ALG)
    key = info.key
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, pss or padding.PKCS1v15(), used.hash)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(used.hash))
        else:
            key.verify(signature, data)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise ScepError("a signature that does not verify", FailInfo.BAD_MESSAGE_CHECK) from error
    return used


def _digest_of(
    info: PublicKeyInfo, algorithm: bytes, parameters: der.Node | None, stated: Digest | None
) -> tuple[Digest, padding.PSS | None]:
    """The digest, and the RSASSA-PSS padding, that a signature algorithm names for a key."""
    pss = None
    named: Digest | None
    if info.kind == "RSA" and algorithm == oid.RSASSA_PSS:
        named, pss = pss_padding(parameters)
    elif info.kind == "RSA" and algorithm == oid.RSA:
        named = stated
    elif info.kind == "RSA":
        named = RSA_SIGNATURES.get(algorithm)
    elif info.kind == "EC":
        named = stated if algorithm == oid.EC_PUBLIC_KEY else ECDSA_SIGNATURES.get(algorithm)
    elif info.kind == "Ed25519" and algorithm == oid.ED25519:
        named = stated or Digest.SHA512
    else:
        named = None
    if named is None:
        raise ScepError("a signature algorithm that is refused or does not fit the key", FailInfo.BAD_ALG)
    if stated is not None and named is not stated:
        raise ScepError("a signature algorithm that contradicts its digest", FailInfo.BAD_ALG)
    return named, pss


def pss_padding(parameters: der.Node | None) -> tuple[Digest, padding.PSS]:
    """RSASSA-PSS parameters, read strictly (RFC 4055, 3.1): MGF1 with the same digest, trailer 1, a bounded salt."""
    digest, mask, salt = Digest.SHA1, Digest.SHA1, 20
    try:
        for node in parameters.sequence() if parameters is not None else []:
            value = node.children()[0]
            if node.tag == 0xA0:
                digest = DIGEST_BY_OID[value.sequence(1)[0].oid()]
            elif node.tag == 0xA1:
                function, hash_algorithm = value.sequence(2)[:2]
                if function.oid() != oid.MGF1:
                    raise Malformed("a mask generation function other than MGF1")
                mask = DIGEST_BY_OID[hash_algorithm.sequence(1)[0].oid()]
            elif node.tag == 0xA2:
                salt = value.integer()
            elif node.tag != 0xA3 or value.integer() != 1:
                raise Malformed("unknown RSASSA-PSS parameters")
    except (KeyError, IndexError, Malformed) as error:
        raise ScepError("RSASSA-PSS parameters that are refused", FailInfo.BAD_ALG) from error
    if mask is not digest or not 0 <= salt <= 512:
        raise ScepError("RSASSA-PSS parameters that are refused", FailInfo.BAD_ALG)
    return digest, padding.PSS(padding.MGF1(mask.hash), salt)
