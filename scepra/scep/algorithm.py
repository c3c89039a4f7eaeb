"""The algorithms of SCEP messages (RFC 8894, 2.9 and 3.5.2): closed lists, what a message used, what a side accepts."""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes

from scepra.scep import oid


class Digest(enum.Enum):
    """A digest: its GetCACaps keyword is the value."""

    MD5 = "MD5"
    SHA1 = "SHA-1"
    SHA224 = "SHA-224"
    SHA256 = "SHA-256"
    SHA384 = "SHA-384"
    SHA512 = "SHA-512"

    hash: hashes.HashAlgorithm
    oid: bytes
    hashlib_name: str

    def of(self, data: bytes) -> bytes:
        """The digest of *data*."""
        # Not hashlib.new(), which takes longer to find SHA-256 than that takes for a kilobyte.
        computed: bytes = getattr(hashlib, self.hashlib_name)(data, usedforsecurity=False).digest()
        return computed


for _digest, _hash, _oid in (
    (Digest.MD5, hashes.MD5(), oid.MD5),
    (Digest.SHA1, hashes.SHA1(), oid.SHA1),
    (Digest.SHA224, hashes.SHA224(), oid.SHA224),
    (Digest.SHA256, hashes.SHA256(), oid.SHA256),
    (Digest.SHA384, hashes.SHA384(), oid.SHA384),
    (Digest.SHA512, hashes.SHA512(), oid.SHA512),
):
    _digest.hash = _hash
    _digest.oid = _oid
    _digest.hashlib_name = _hash.name


class ContentCipher(enum.Enum):
    """A content-encryption algorithm in CBC mode; ``key_size`` and ``block_size`` in octets."""

    DES_CBC = "DES-CBC"
    DES_EDE3_CBC = "DES-EDE3-CBC"
    AES128_CBC = "AES-128-CBC"
    AES192_CBC = "AES-192-CBC"
    AES256_CBC = "AES-256-CBC"

    oid: bytes
    key_size: int
    block_size: int


for _cipher, _oid, _key_size, _block_size in (
    (ContentCipher.DES_CBC, oid.DES_CBC, 8, 8),
    (ContentCipher.DES_EDE3_CBC, oid.DES_EDE3_CBC, 24, 8),
    (ContentCipher.AES128_CBC, oid.AES128_CBC, 16, 16),
    (ContentCipher.AES192_CBC, oid.AES192_CBC, 24, 16),
    (ContentCipher.AES256_CBC, oid.AES256_CBC, 32, 16),
):
    _cipher.oid = _oid
    _cipher.key_size = _key_size
    _cipher.block_size = _block_size


class KeyTransport(enum.Enum):
    """How a content key reaches its recipient (RFC 8894, 3.1; CMS-23, CMS-27)."""

    RSA_V15 = "RSA-v1.5"
    OAEP_SHA1 = "RSA-OAEP-SHA-1"
    OAEP_SHA256 = "RSA-OAEP-SHA-256"
    PASSWORD = "password"  # noqa: S105 - the name of a method


DIGEST_BY_OID = {digest.oid: digest for digest in Digest}
CIPHER_BY_OID = {cipher.oid: cipher for cipher in ContentCipher}


@dataclass(frozen=True, slots=True)
class Algorithms:
    """What one message uses, or is to use."""

    digest: Digest = Digest.SHA256
    cipher: ContentCipher = ContentCipher.AES128_CBC
    key_transport: KeyTransport = KeyTransport.RSA_V15

    def __str__(self) -> str:
        return f"{self.digest.value}, {self.cipher.value}, {self.key_transport.value}"


@dataclass(frozen=True, slots=True)
class Floor:
    """What a side accepts, and emits: anything not named is refused with badAlg (SEC-01, SEC-14, AC-064).

    ``rsa_bits`` bounds the modulus of signer keys (smallest, largest), ``rsa_exponent`` the smallest public exponent.
    """

    digests: frozenset[Digest] = frozenset((Digest.SHA1, Digest.SHA224, Digest.SHA256, Digest.SHA384, Digest.SHA512))
    ciphers: frozenset[ContentCipher] = frozenset(
        (ContentCipher.AES128_CBC, ContentCipher.AES192_CBC, ContentCipher.AES256_CBC, ContentCipher.DES_EDE3_CBC)
    )
    key_transports: frozenset[KeyTransport] = frozenset(
        (KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256)
    )
    rsa_bits: tuple[int, int] = (2048, 8192)
    rsa_exponent: int = 3
    curves: frozenset[str] = field(default=frozenset(("P-256", "P-384", "P-521")))
