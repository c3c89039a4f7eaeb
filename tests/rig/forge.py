"""Forge-client: a pkiMessage built layer by layer from raw elements, any octet of which can be set.

A test says what it is about and leaves the rest: ``Forge(recipient=ra).message()`` is a sound PKCSReq from a device
with an RSA-2048 key. Every field that is None is made from the others; one that holds octets stands as it is, and what
comes after it (digests, the signature) is made to fit. The ``Forge`` itself never changes: take another with
:func:`dataclasses.replace`. Nothing here reads with scepra: answers are read with asn1crypto (:func:`read_answer`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

from asn1crypto import cms as asn1
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from scepra.scep import der, oid
from scepra.scep.algorithm import ContentCipher, Digest
from scepra.scep.certificate import Certificate
from tests import csrs

Encode = Callable[[bytes], bytes]

RSA_V15 = der.sequence(der.oid(oid.RSA), der.NULL)


def unchanged(encoding: bytes) -> bytes:
    """The same octets."""
    return encoding


# --- BER -------------------------------------------------------------------------------------------------------------


def ber(encoding: bytes, *, segment: int = 0, keep: tuple[bytes, ...] = ()) -> bytes:
    """The same value in the BER that streaming encoders write: every length indefinite.

    Args:
        segment: split OCTET STRINGs and implicit [0] strings into segments of so many octets; 0 leaves them whole.
        keep: elements that stay as they are (certificates, whose signatures cover their DER).
    """
    return _ber(der.parse(encoding, der.Limits(elements=100_000)), segment, keep)


def _ber(node: der.Node, segment: int, keep: tuple[bytes, ...]) -> bytes:
    if node.raw in keep:
        return node.raw
    if node.tag & der.CONSTRUCTED:
        content = b"".join(_ber(child, segment, keep) for child in node.children())
        return bytes((node.tag, 0x80)) + content + b"\0\0"
    if segment and node.tag in (der.OCTET_STRING, 0x80):
        pieces = [node.content[at : at + segment] for at in range(0, len(node.content), segment)]
        return bytes((node.tag | der.CONSTRUCTED, 0x80)) + b"".join(map(der.octet_string, pieces)) + b"\0\0"
    return node.raw


def long_lengths(encoding: bytes, keep: tuple[bytes, ...] = ()) -> bytes:
    """The same value with every length in four octets, as fixed-size encoders write it."""

    def again(node: der.Node) -> bytes:
        if node.raw in keep:
            return node.raw
        content = b"".join(map(again, node.children())) if node.tag & der.CONSTRUCTED else node.content
        return bytes((node.tag, 0x84)) + len(content).to_bytes(4, "big") + content

    return again(der.parse(encoding))


# --- Certificates ----------------------------------------------------------------------------------------------------


def sign(key: csrs.PrivateKey, data: bytes, digest: Digest = Digest.SHA256) -> bytes:
    """The usual signature of a key: PKCS #1 v1.5, ECDSA or Ed25519."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), digest.hash)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(digest.hash))
    return key.sign(data)


_SIGNATURES = {
    Digest.MD5: oid.MD5_RSA,
    Digest.SHA1: oid.SHA1_RSA,
    Digest.SHA256: oid.SHA256_RSA,
    Digest.SHA384: oid.SHA384_RSA,
    Digest.SHA512: oid.SHA512_RSA,
}


def signature_algorithm(key: csrs.PrivateKey, digest: Digest = Digest.SHA256) -> bytes:
    """The AlgorithmIdentifier of :func:`sign`."""
    if isinstance(key, rsa.RSAPrivateKey):
        return csrs.algorithm(_SIGNATURES[digest], der.NULL)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return csrs.algorithm({Digest.SHA1: oid.ECDSA_SHA1, Digest.SHA256: oid.ECDSA_SHA256}[digest])
    return csrs.algorithm(oid.ED25519)


def certificate(
    key: csrs.PrivateKey | None = None,
    subject: bytes | str = "device.example",
    *,
    by: tuple[csrs.PrivateKey, Certificate] | None = None,
    issuer: bytes | None = None,
    serial: bytes = der.integer(0x2A),
    version: bytes = der.explicit(0, der.integer(2)),
    validity: tuple[bytes, bytes] = (b"200101000000Z", b"490101000000Z"),
    extensions: tuple[bytes, ...] = (),
    public_key: bytes | None = None,
    digest: Digest = Digest.SHA256,
    trailer: bytes = b"",
) -> Certificate:
    """A certificate, self-signed unless *by* somebody.

    Args:
        key: what it is for.
        subject: an encoded Name, or a common name.
        by: the issuing key and certificate.
        issuer: an encoded Name instead of the issuing certificate's subject.
        serial: an encoded INTEGER.
        version: the whole ``[0]``; empty for version 1.
        validity: two texts of a UTCTime or, with the century, a GeneralizedTime.
        extensions: encoded Extensions; without any, the field is left out.
        public_key: an encoded SubjectPublicKeyInfo instead of the key's.
        trailer: follows the extensions.
    """
    key = key or csrs.rsa_key()
    name = csrs.subject(subject) if isinstance(subject, str) else subject
    signing_key = by[0] if by else key
    algorithm = signature_algorithm(signing_key, digest)
    tbs = der.sequence(
        version,
        serial,
        algorithm,
        issuer or (by[1].subject_der if by else name),
        der.sequence(*(der.tlv(der.GENERALIZED_TIME if len(time) == 15 else der.UTC_TIME, time) for time in validity)),
        name,
        public_key or csrs.spki(key),
        der.explicit(3, der.sequence(*extensions)) if extensions else b"",
        trailer,
    )
    return Certificate.parse(der.sequence(tbs, algorithm, der.bit_string(sign(signing_key, tbs, digest))))


@cache
def own_certificate(key: csrs.PrivateKey) -> Certificate:
    """The self-signed certificate that goes with a key; always the same."""
    return certificate(key)


def ca_extensions() -> tuple[bytes, ...]:
    """What makes a certificate a CA's."""
    return (
        csrs.extension(oid.BASIC_CONSTRAINTS, der.sequence(b"\x01\x01\xff"), critical=True),
        csrs.key_usage(b"\x01\x06"),
    )


def key_identifier(value: bytes = b"\x01" * 20) -> bytes:
    """A subjectKeyIdentifier extension."""
    return csrs.extension(oid.SUBJECT_KEY_IDENTIFIER, der.octet_string(value))


# --- The envelope ----------------------------------------------------------------------------------------------------


def encrypt(cipher: ContentCipher, key: bytes, iv: bytes, padded: bytes) -> bytes:
    """CBC of octets that are padded already."""
    encryptor = _cipher(cipher, key, iv).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def decrypt(cipher: ContentCipher, key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Undoes :func:`encrypt`; the padding stays."""
    decryptor = _cipher(cipher, key, iv).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


def _cipher(cipher: ContentCipher, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    if cipher is ContentCipher.DES_CBC:
        return Cipher(TripleDES(key * 3), modes.CBC(iv))
    return Cipher((TripleDES if cipher.block_size == 8 else algorithms.AES)(key), modes.CBC(iv))


def oaep(digest: hashes.HashAlgorithm) -> padding.OAEP:
    """OAEP with one digest for both of its uses."""
    return padding.OAEP(padding.MGF1(digest), digest, None)


def issuer_and_serial(of: Certificate) -> bytes:
    """An IssuerAndSerialNumber."""
    return der.sequence(of.issuer_der, of.serial_der)


def recipient_info(
    recipient: Certificate,
    content_key: bytes,
    *,
    name: bytes | None = None,
    algorithm: bytes = RSA_V15,
    scheme: padding.AsymmetricPadding | None = None,
    encrypted_key: bytes | None = None,
    version: int = 0,
) -> bytes:
    """A KeyTransRecipientInfo.

    Args:
        name: an encoded RecipientIdentifier instead of the recipient's issuer and serial number.
        algorithm: an encoded AlgorithmIdentifier.
        scheme: how the key is wrapped, PKCS #1 v1.5 unless told.
        encrypted_key: instead of the wrapped content key.
    """
    if encrypted_key is None:
        key = recipient.public_key.key
        assert isinstance(key, rsa.RSAPublicKey)
        encrypted_key = key.encrypt(content_key, scheme or padding.PKCS1v15())
    return der.sequence(
        der.integer(version), name or issuer_and_serial(recipient), algorithm, der.octet_string(encrypted_key)
    )


# --- The message -----------------------------------------------------------------------------------------------------


def attribute(kind: bytes, *values: bytes) -> bytes:
    """A signed attribute."""
    return der.sequence(der.oid(kind), der.tlv(der.SET, *values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """A message to *recipient*, of which each layer can be set.

    Envelope: ``content`` is what is in it (by default ``csr``); ``pad`` makes whole blocks of it; ``content_key`` and
    ``iv`` encrypt it with ``cipher``, which ``content_algorithm`` (encoded) may belie; ``encrypted_content`` is the
    whole ``[0]``; ``inner_type`` what the envelope calls its content; ``recipients`` are encoded RecipientInfos;
    ``envelope_ber`` re-encodes the envelope before it is signed.

    Signed layer: ``attributes`` replaces attributes by type, each with the encoded Attributes that shall stand there
    (none, two, of other types); ``arrange`` puts them in order; ``signed_attributes`` re-encodes what is signed;
    ``signer`` names ``key``'s certificate, ``sid`` (encoded) may name another; ``bag`` are encoded certificates;
    ``encapsulated`` is the whole encapContentInfo; ``after_bag`` stands behind the bag (CRLs); ``unsigned`` is the
    whole ``[1]`` of the SignerInfo; ``signer_infos`` are encoded SignerInfos; ``message_ber`` re-encodes the message.
    """

    recipient: Certificate
    key: csrs.PrivateKey = field(default_factory=csrs.rsa_key)
    signer: Certificate | None = None

    csr: bytes | None = None
    content: bytes | None = None
    pad: Callable[[bytes, int], bytes] | None = None
    cipher: ContentCipher = ContentCipher.AES128_CBC
    content_key: bytes | None = None
    iv: bytes | None = None
    content_algorithm: bytes | None = None
    encrypted_content: bytes | None = None
    inner_type: bytes = oid.DATA
    recipients: tuple[bytes, ...] | None = None
    envelope: bytes | None = None
    envelope_ber: Encode = unchanged

    message_type: str = "19"
    transaction_id: str = "5D8737382F6871D1BE9F5454E18BE352"
    sender_nonce: bytes = b"0123456789abcdef"
    digest: Digest = Digest.SHA256
    digest_algorithm: bytes | None = None
    digest_algorithms: bytes | None = None
    signature_algorithm: bytes = RSA_V15
    signature: Encode | None = None
    content_type: bytes = oid.DATA
    attributes: Mapping[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    arrange: Callable[[list[bytes]], list[bytes]] = sorted
    signed_attributes: Encode = unchanged
    sid: bytes | None = None
    signer_version: int = 1
    unsigned: bytes = b""
    bag: tuple[bytes, ...] | None = None
    after_bag: bytes = b""
    encapsulated: bytes | None = None
    signer_infos: tuple[bytes, ...] | None = None
    message_ber: Encode = unchanged

    def certificate(self) -> Certificate:
        """Whose key signs."""
        return self.signer or own_certificate(self.key)

    def plaintext(self) -> bytes:
        """What is in the envelope: a CSR with the challenge "secret", unless told."""
        if self.content is not None:
            return self.content
        return self.csr or csrs.build(csrs.challenge("secret"), key=self.key)

    def enveloped(self) -> bytes:
        """The envelope, in its ContentInfo."""
        if self.envelope is not None:
            return self.envelope
        size, block = self.cipher.key_size, self.cipher.block_size
        key = self.content_key if self.content_key is not None else bytes(range(1, size + 1))
        iv = self.iv if self.iv is not None else bytes(range(block))
        algorithm = self.content_algorithm or der.sequence(der.oid(self.cipher.oid), der.octet_string(iv))
        encrypted = self.encrypted_content
        if encrypted is None:
            padded = (self.pad or pkcs7)(self.plaintext(), block)
            encrypted = der.tlv(0x80, encrypt(self.cipher, key[:size].ljust(size, b"\0"), iv[:block], padded))
        recipients = self.recipients if self.recipients is not None else (recipient_info(self.recipient, key),)
        data = der.sequence(
            der.integer(0),
            der.tlv(der.SET, *recipients),
            der.sequence(der.oid(self.inner_type), algorithm, encrypted),
        )
        return self.envelope_ber(der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0, data)))

    def value(self) -> bytes:
        """The octets that messageDigest is of: the value of eContent, wherever it is."""
        if self.encapsulated is None:
            return self.enveloped()
        parts = der.parse(self.encapsulated).sequence(1)
        return parts[1].children()[0].octets() if len(parts) > 1 else b""

    def attribute_list(self) -> list[bytes]:
        """The encoded signed attributes, in order."""
        digest = hashlib.new(self.digest.hashlib_name, self.value()).digest()
        usual = {
            oid.CONTENT_TYPE: (attribute(oid.CONTENT_TYPE, der.oid(self.content_type)),),
            oid.MESSAGE_DIGEST: (attribute(oid.MESSAGE_DIGEST, der.octet_string(digest)),),
            oid.MESSAGE_TYPE: (attribute(oid.MESSAGE_TYPE, text(self.message_type)),),
            oid.TRANSACTION_ID: (attribute(oid.TRANSACTION_ID, text(self.transaction_id)),),
            oid.SENDER_NONCE: (attribute(oid.SENDER_NONCE, der.octet_string(self.sender_nonce)),),
        }
        return self.arrange([item for items in ({**usual, **self.attributes}).values() for item in items])

    def signer_info(self) -> bytes:
        """The one SignerInfo."""
        body = b"".join(self.attribute_list())
        signed = self.signed_attributes(der.tlv(der.SET, body))
        signature = self.signature(signed) if self.signature else sign(self.key, signed, self.digest)
        return der.sequence(
            der.integer(self.signer_version),
            self.sid or issuer_and_serial(self.certificate()),
            self.digest_algorithm or csrs.algorithm(self.digest.oid, der.NULL),
            der.tlv(0xA0, body) if body else b"",
            self.signature_algorithm,
            der.octet_string(signature),
            self.unsigned,
        )

    def message(self) -> bytes:
        """The whole message."""
        if self.envelope is None:
            # Wrapping a key is random: what is digested and what is sent must be one envelope.
            return replace(self, envelope=self.enveloped()).message()
        digests = self.digest_algorithms
        if digests is None:
            digests = der.tlv(der.SET, self.digest_algorithm or csrs.algorithm(self.digest.oid, der.NULL))
        content = self.encapsulated
        if content is None:
            content = der.sequence(der.oid(self.content_type), der.explicit(0, der.octet_string(self.enveloped())))
        data = der.sequence(
            der.integer(1),
            digests,
            content,
            der.explicit(0, *(self.bag if self.bag is not None else (self.certificate().der,))),
            self.after_bag,
            der.tlv(der.SET, *(self.signer_infos if self.signer_infos is not None else (self.signer_info(),))),
        )
        return self.message_ber(der.sequence(der.oid(oid.SIGNED_DATA), der.explicit(0, data)))


def text(value: str) -> bytes:
    """A PrintableString, or a UTF8String where it takes one."""
    return der.printable_string(value) if value.isascii() else der.tlv(der.UTF8_STRING, value.encode())


def pkcs7(content: bytes, block: int) -> bytes:
    """PKCS #7 padding."""
    count = block - len(content) % block
    return content + bytes((count,)) * count


# --- Answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """A CertRep as asn1crypto and cryptography see it.

    ``attributes`` are the signed attributes by dotted type, each with its values' contents (unwrapped text or octets);
    ``content`` is eContent's value, None where it is absent; ``bag`` the outer certificates; ``recipients`` how many
    the envelope has, 0 without one; ``payload`` what is in it.
    """

    attributes: Mapping[str, list[bytes]]
    order: tuple[str, ...]
    content: bytes | None
    bag: tuple[bytes, ...]
    digest: str
    signature_algorithm: str
    recipients: int = 0
    cipher: str = ""
    payload: bytes | None = None

    def text(self, kind: bytes) -> str:
        """The one value of a text attribute."""
        (value,) = self.attributes[oid.dotted(kind)]
        return value.decode("ascii")

    def octets(self, kind: bytes) -> bytes:
        """The one value of an octet attribute."""
        (value,) = self.attributes[oid.dotted(kind)]
        return value

    def certificates(self) -> list[bytes]:
        """The certificates of the payload, in order."""
        data = asn1.ContentInfo.load(self.payload, strict=True)["content"]
        return [choice.chosen.dump() for choice in data["certificates"]]


def read_answer(answer: bytes, signer: Certificate, key: rsa.RSAPrivateKey | None = None) -> ReadAnswer:
    """Read a CertRep without scepra, and check that *signer* made it.

    Args:
        signer: whose key must have signed.
        key: opens the envelope, if there is one.
    """
    info = asn1.ContentInfo.load(answer, strict=True)
    assert info["content_type"].native == "signed_data"
    data = info["content"]
    (signer_info,) = data["signer_infos"]
    digest = signer_info["digest_algorithm"]["algorithm"].native
    attributes, order = {}, []
    for item in signer_info["signed_attrs"]:
        kind = item["type"].dotted
        assert kind not in attributes
        order.append(kind)
        attributes[kind] = [value.contents for value in item["values"]]
    content = data["encap_content_info"]["content"]
    octets = None if isinstance(content, core.Void) else bytes(content)
    assert attributes[oid.dotted(oid.MESSAGE_DIGEST)] == [hashlib.new(digest, octets or b"").digest()]
    loaded = x509.load_der_x509_certificate(signer.der)
    public = loaded.public_key()
    signed = signer_info["signed_attrs"].untag().dump(force=True)
    signature = signer_info["signature"].native
    algorithm = getattr(hashes, digest.upper())()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, signed, padding.PKCS1v15(), algorithm)
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(signature, signed, ec.ECDSA(algorithm))
    bag = tuple(choice.chosen.dump() for choice in data["certificates"])
    opened = _read_envelope(octets, key) if octets else {}
    named = signer_info["signature_algorithm"]["algorithm"].dotted
    return ReadAnswer(attributes, tuple(order), octets, bag, digest, named, **opened)


def _read_envelope(encoding: bytes, key: rsa.RSAPrivateKey | None) -> dict[str, object]:
    data = asn1.ContentInfo.load(encoding, strict=True)["content"]
    recipients = data["recipient_infos"]
    encrypted = data["encrypted_content_info"]
    algorithm = encrypted["content_encryption_algorithm"]
    cipher = next(item for item in ContentCipher if oid.dotted(item.oid) == algorithm["algorithm"].dotted)
    payload = None
    if key is not None:
        (recipient,) = recipients
        wrapped = recipient.chosen["encrypted_key"].native
        kind = recipient.chosen["key_encryption_algorithm"]["algorithm"].dotted
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if kind == oid.dotted(oid.RSAES_OAEP):
            named = recipient.chosen["key_encryption_algorithm"]["parameters"]["hash_algorithm"]["algorithm"].native
            scheme = oaep(getattr(hashes, named.upper())())
        padded = decrypt(
            cipher, key.decrypt(wrapped, scheme), algorithm["parameters"].native, encrypted["encrypted_content"].native
        )
        payload = padded[: -padded[-1]]
    return {"recipients": len(recipients), "cipher": cipher.value, "payload": payload}
