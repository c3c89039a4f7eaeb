"""EnvelopedData: content encrypted to one recipient (RFC 5652, 6; RFC 8894, 3.1; conformance 4.2).

A key that cannot be unwrapped, or has a wrong length, is replaced by a random one, and every failure from there on is
the same (:func:`unreadable`): no peer learns where opening went wrong (SEC-02, AC-037, AC-038).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from scepra.errors import FailInfo, KeyUnavailable, Malformed, ScepError
from scepra.scep import der, oid
from scepra.scep.algorithm import CIPHER_BY_OID, ContentCipher, Digest, Floor, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.cms import ALGORITHM_IDENTIFIERS, RSA_IDENTIFIER, certificate_name
from scepra.scep.identity import OAEP_PADDINGS, CertificateName, RAKey

MAXIMUM_RECIPIENTS = 8
MAXIMUM_ITERATIONS = 100_000
ITERATIONS = 10_000
_VERSION_0, _VERSION_3 = der.integer(0), der.integer(3)
_PRFS: dict[bytes, hashes.HashAlgorithm] = {oid.HMAC_SHA1: hashes.SHA1(), oid.HMAC_SHA256: hashes.SHA256()}


def unreadable() -> ScepError:
    """The one refusal of everything that fails after a key was unwrapped."""
    return ScepError("the envelope does not open to a readable request", FailInfo.BAD_REQUEST)


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """One recipient: ``transport`` is None for a kind that is not used here; ``name`` for key transport only."""

    transport: KeyTransport | None
    name: CertificateName | None
    encrypted_key: bytes
    key_encryption: der.Node | None = None
    key_derivation: der.Node | None = None


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """An EnvelopedData, unopened."""

    recipients: tuple[RecipientInfo, ...]
    cipher: ContentCipher
    iv: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, encoding: bytes) -> EnvelopedData:
        """Read a pkcsPKIEnvelope, with its ContentInfo or without (CMS-20); what it calls its content is ignored
        (CMS-26).

        Raises:
            Malformed: it is none, or has too many parts.
            ScepError: badAlg, it names an algorithm that is unknown or parameters that cannot be (CMS-24, CMS-25).
        """
        fields = der.parse(encoding).sequence(2)
        if fields[0].tag == der.OBJECT_IDENTIFIER:
            if fields[0].content != oid.ENVELOPED_DATA:
                raise Malformed("not an EnvelopedData")
            fields = fields[1].expect(0xA0).only().sequence(3)
        at = 2 if fields[1].tag == 0xA0 else 1  # originatorInfo says nothing here
        if len(fields) < at + 2:
            raise Malformed("an EnvelopedData that is too short")
        recipients = fields[at].expect(der.SET).children()
        if not 0 < len(recipients) <= MAXIMUM_RECIPIENTS:
            raise Malformed("no recipient, or too many")
        content = fields[at + 1].sequence(2)
        cipher, iv = _content_encryption(content[1])
        ciphertext = content[2].octets(0x80) if len(content) > 2 else b""
        return cls(tuple(map(_recipient, recipients)), cipher, iv, ciphertext)

    def check(self, floor: Floor, recipient: RecipientInfo) -> None:
        """Refuse visible algorithms before any private key is used (design rule 2).

        Raises:
            ScepError: badAlg.
        """
        if self.cipher not in floor.ciphers:
            raise ScepError(f"the refused content cipher {self.cipher.value}", FailInfo.BAD_ALG)
        if recipient.transport is None or recipient.transport not in floor.key_transports:
            raise ScepError("a refused key transport", FailInfo.BAD_ALG)

    def open(self, key: RAKey, recipient: RecipientInfo) -> bytes:
        """The content, opened with the recipient's private key.

        Raises:
            ScepError: it does not open; always the same.
            KeyUnavailable: the key cannot be used now, whatever the envelope holds.
        """
        try:
            content_key = key.decrypt(recipient.encrypted_key, recipient.transport or KeyTransport.RSA_V15)
        except KeyUnavailable:
            raise
        except Exception:
            content_key = b""
        return self._decrypt(content_key)

    def open_with_password(self, password: bytes) -> bytes:
        """The content, opened with a password (RFC 5652, 6.2.4; CMS-27).

        Raises:
            ScepError: no recipient is a password's, its parameters are refused, or it does not open.
        """
        recipient = next((item for item in self.recipients if item.transport is KeyTransport.PASSWORD), None)
        if recipient is None:
            raise unreadable()
        try:
            content_key = _unwrap(recipient, password)
        except Malformed as error:
            raise unreadable() from error
        return self._decrypt(content_key)

    def _decrypt(self, content_key: bytes) -> bytes:
        decoy = os.urandom(self.cipher.key_size)
        if len(content_key) != self.cipher.key_size:
            content_key = decoy
        if not self.ciphertext or len(self.ciphertext) % self.cipher.block_size:
            raise unreadable()
        decryptor = _cipher(self.cipher, content_key, self.iv).decryptor()
        padded = decryptor.update(self.ciphertext) + decryptor.finalize()
        count = padded[-1]
        if not 0 < count <= self.cipher.block_size or padded[-count:] != bytes((count,)) * count:
            raise unreadable()
        return padded[:-count]


def _content_encryption(node: der.Node) -> tuple[ContentCipher, bytes]:
    parts = node.sequence(1)
    cipher = CIPHER_BY_OID.get(parts[0].oid())
    if cipher is None:
        raise ScepError(f"the unknown content cipher {oid.dotted(parts[0].content)}", FailInfo.BAD_ALG)
    iv = parts[1].octets() if len(parts) > 1 and parts[1].tag & ~der.CONSTRUCTED == der.OCTET_STRING else b""
    if len(iv) != cipher.block_size:
        raise ScepError("an initialisation vector of a wrong length", FailInfo.BAD_ALG)
    return cipher, iv


def _recipient(node: der.Node) -> RecipientInfo:
    if node.tag == der.SEQUENCE:
        _, name, algorithm, encrypted = node.sequence(4)[:4]
        return RecipientInfo(_key_transport(algorithm), certificate_name(name), encrypted.octets())
    if node.tag == 0xA3:
        parts = node.children()
        derivation = next((part for part in parts if part.tag == 0xA0), None)
        rest = [part for part in parts if part.tag != 0xA0]
        if len(rest) < 3:
            raise Malformed("a PasswordRecipientInfo that is too short")
        return RecipientInfo(KeyTransport.PASSWORD, None, rest[2].octets(), rest[1], derivation)
    return RecipientInfo(None, None, b"")


def _key_transport(node: der.Node) -> KeyTransport | None:
    """RSA v1.5, or RSAES-OAEP with one digest for both of its uses (CMS-23); None for what is not used here."""
    parts = node.sequence(1)
    if parts[0].oid() == oid.RSA:
        return KeyTransport.RSA_V15
    if parts[0].oid() != oid.RSAES_OAEP:
        return None
    digest = mask = oid.SHA1
    for part in parts[1].sequence() if len(parts) > 1 and parts[1].tag == der.SEQUENCE else []:
        value = part.only().sequence(1) if part.tag in (0xA0, 0xA1, 0xA2) else []
        if part.tag == 0xA0:
            digest = value[0].oid()
        elif part.tag == 0xA1 and len(value) == 2 and value[0].oid() == oid.MGF1:
            mask = value[1].sequence(1)[0].oid()
        elif part.tag == 0xA2 and len(value) == 2 and value[0].oid() == oid.PSPECIFIED and not value[1].octets():
            pass
        else:
            return None
    if digest == mask == oid.SHA1:
        return KeyTransport.OAEP_SHA1
    return KeyTransport.OAEP_SHA256 if digest == mask == oid.SHA256 else None


def _cipher(cipher: ContentCipher, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    if cipher is ContentCipher.DES_CBC:
        return Cipher(TripleDES(key * 3), modes.CBC(iv))
    if cipher is ContentCipher.DES_EDE3_CBC:
        return Cipher(TripleDES(key), modes.CBC(iv))
    return Cipher(algorithms.AES(key), modes.CBC(iv))


_OAEP_SHA256 = der.sequence(
    der.explicit(0, ALGORITHM_IDENTIFIERS[Digest.SHA256]),
    der.explicit(1, der.sequence(der.oid(oid.MGF1), ALGORITHM_IDENTIFIERS[Digest.SHA256])),
)
_TRANSPORT_IDENTIFIERS = {
    KeyTransport.RSA_V15: RSA_IDENTIFIER,
    KeyTransport.OAEP_SHA1: der.sequence(der.oid(oid.RSAES_OAEP), der.sequence()),
    KeyTransport.OAEP_SHA256: der.sequence(der.oid(oid.RSAES_OAEP), _OAEP_SHA256),
}
_DATA, _ENVELOPED_DATA = der.oid(oid.DATA), der.oid(oid.ENVELOPED_DATA)


def seal(content: bytes, recipient: Certificate, cipher: ContentCipher, transport: KeyTransport) -> bytes:
    """Encrypt *content* to one RSA certificate: EnvelopedData of version 0 in a ContentInfo (CMS-40, CMS-47).

    Raises:
        ScepError: badAlg, the recipient's key cannot encrypt.
    """
    key = recipient.public_key.key
    if not isinstance(key, rsa.RSAPublicKey):
        raise ScepError("the recipient's key cannot encrypt", FailInfo.BAD_ALG)

    def wrap(content_key: bytes) -> bytes:
        return der.sequence(
            _VERSION_0,
            der.sequence(recipient.issuer_der, recipient.serial_der),
            _TRANSPORT_IDENTIFIERS[transport],
            der.octet_string(key.encrypt(content_key, OAEP_PADDINGS.get(transport, _V15))),
        )

    return _seal(content, cipher, _VERSION_0, wrap)


_V15 = padding.PKCS1v15()


def seal_with_password(content: bytes, password: bytes, cipher: ContentCipher) -> bytes:
    """Encrypt *content* under a password: EnvelopedData of version 3 with a PasswordRecipientInfo (RFC 8894, 3.1;
    CMS-28).

    PBKDF2 with HMAC-SHA-256, and the content cipher itself in PWRI-KEK (RFC 3211, 2.3).
    """
    salt, iv = os.urandom(16), os.urandom(cipher.block_size)
    derived = _derive(password, salt, ITERATIONS, hashes.SHA256(), cipher)
    derivation = der.sequence(
        der.octet_string(salt), der.integer(ITERATIONS), der.sequence(der.oid(oid.HMAC_SHA256), der.NULL)
    )

    def wrap(content_key: bytes) -> bytes:
        block = bytes((len(content_key),)) + bytes(octet ^ 0xFF for octet in content_key[:3]) + content_key
        size = max(2 * cipher.block_size, -(-len(block) // cipher.block_size) * cipher.block_size)
        block += os.urandom(size - len(block))
        first = _cipher(cipher, derived, iv).encryptor().update(block)
        second = _cipher(cipher, derived, first[-cipher.block_size :]).encryptor().update(first)
        return der.tlv(
            0xA3,
            _VERSION_0,
            der.tlv(0xA0, der.oid(oid.PBKDF2), derivation),
            der.sequence(der.oid(oid.PWRI_KEK), der.sequence(der.oid(cipher.oid), der.octet_string(iv))),
            der.octet_string(second),
        )

    return _seal(content, cipher, _VERSION_3, wrap)


def _seal(content: bytes, cipher: ContentCipher, version: bytes, wrap: Callable[[bytes], bytes]) -> bytes:
    content_key, iv = os.urandom(cipher.key_size), os.urandom(cipher.block_size)
    count = cipher.block_size - len(content) % cipher.block_size
    encryptor = _cipher(cipher, content_key, iv).encryptor()
    ciphertext = encryptor.update(content + bytes((count,)) * count) + encryptor.finalize()
    encrypted = der.sequence(_DATA, der.sequence(der.oid(cipher.oid), der.octet_string(iv)), der.tlv(0x80, ciphertext))
    return der.sequence(
        _ENVELOPED_DATA, der.explicit(0, der.sequence(version, der.tlv(der.SET, wrap(content_key)), encrypted))
    )


def _derive(password: bytes, salt: bytes, iterations: int, prf: hashes.HashAlgorithm, cipher: ContentCipher) -> bytes:
    return PBKDF2HMAC(prf, cipher.key_size, salt, iterations).derive(password)


def _unwrap(recipient: RecipientInfo, password: bytes) -> bytes:
    """The content key of a PasswordRecipientInfo, or octets of no use (RFC 3211, 2.3.2).

    Raises:
        Malformed: parameters that are unknown or beyond the bounds of CMS-27.
    """
    if recipient.key_derivation is None or recipient.key_encryption is None:
        raise Malformed("a PasswordRecipientInfo without a derivation")
    method, parameters = _pair(recipient.key_derivation.children())
    if method.oid() != oid.PBKDF2:
        raise Malformed("a key derivation other than PBKDF2")
    fields = parameters.sequence(2)
    salt, iterations = fields[0].octets(), fields[1].integer()
    last = fields[-1]
    prf = _PRFS.get(last.sequence(1)[0].oid()) if last.tag == der.SEQUENCE else _PRFS[oid.HMAC_SHA1]
    if prf is None or not 0 < iterations <= MAXIMUM_ITERATIONS or not 8 <= len(salt) <= 64:
        raise Malformed("PBKDF2 parameters beyond their bounds")
    method, inner = _pair(recipient.key_encryption.sequence(2))
    try:
        cipher, iv = _content_encryption(inner)
    except ScepError as error:
        raise Malformed(error.reason) from error
    wrapped, size = recipient.encrypted_key, cipher.block_size
    if method.oid() != oid.PWRI_KEK or len(wrapped) % size or not 2 * size <= len(wrapped) <= 256:
        raise Malformed("a wrapped key that cannot be")
    derived = _derive(password, salt, iterations, prf, cipher)
    last_iv = _cipher(cipher, derived, wrapped[-2 * size : -size]).decryptor().update(wrapped[-size:])
    inner_blocks = _cipher(cipher, derived, last_iv).decryptor().update(wrapped[:-size]) + last_iv
    block = _cipher(cipher, derived, iv).decryptor().update(inner_blocks)
    content_key = block[4 : 4 + block[0]]
    good = len(content_key) == block[0] and bytes(octet ^ 0xFF for octet in block[1:4]) == content_key[:3]
    return content_key if good else b""


def _pair(nodes: list[der.Node]) -> tuple[der.Node, der.Node]:
    if len(nodes) != 2:
        raise Malformed("an algorithm without its parameters")
    return nodes[0], nodes[1]
