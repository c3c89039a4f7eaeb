"""pkiMessage (RFC 8894, 3): what both roles read and write.

A message is read in steps, each of which may refuse it: :meth:`PKIMessage.parse` (is it one, and can it be answered at
all?), :meth:`PKIMessage.verify` (who signed it?), :meth:`PKIMessage.open` (what is in it?).
"""

from __future__ import annotations

import enum
import os
import re
from dataclasses import dataclass

from scepra.errors import FailInfo, Malformed, Refused, ScepError
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Algorithms, Digest, Floor, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.envelope import EnvelopedData, seal, seal_with_password
from scepra.scep.identity import Generation, Identity, Keyring

MAXIMUM_TRANSACTION_ID = 255
MAXIMUM_NONCE = 64
NONCE = 16
_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,./:=?-]*")
_TEXT_TAGS = (der.PRINTABLE_STRING, der.UTF8_STRING, der.IA5_STRING, der.T61_STRING)


class MessageType(enum.Enum):
    """RFC 8894, 3.2.1.2; the value is the text on the wire. UpdateReq (18) of the drafts means nothing (MSG-34)."""

    CERT_REP = "3"
    RENEWAL_REQ = "17"
    PKCS_REQ = "19"
    CERT_POLL = "20"
    GET_CERT = "21"
    GET_CRL = "22"


REQUESTS = {item.value: item for item in MessageType if item is not MessageType.CERT_REP}


class PKIStatus(enum.Enum):
    """RFC 8894, 3.2.1.3."""

    SUCCESS = "0"
    FAILURE = "2"
    PENDING = "3"


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of a message's envelope, the RA generation it was meant for, and the algorithms it came with.

    ``content`` is empty where the envelope does not open: that reads as nothing, and as nothing else (SEC-02).
    """

    content: bytes
    generation: Generation
    algorithms: Algorithms


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A message that can be answered: unverified until :meth:`verify` has named its signer.

    ``message_type_text`` is None where messageType is not one text; ``transaction_id_tag`` is the string type that the
    transactionID came in.
    """

    signed_data: cms.SignedData
    transaction_id: str
    transaction_id_tag: int
    sender_nonce: bytes
    message_type_text: str | None

    @classmethod
    def parse(cls, encoding: bytes) -> PKIMessage:
        """Read a message.

        Raises:
            Refused: status 400; it is no SignedData with one signer, or lacks a single usable transactionID, a
                messageType or a senderNonce of 1 to 64 octets, so that no CertRep could answer it (CMS-08, MSG-02).
        """
        try:
            signed = cms.SignedData.parse(encoding)
            info = signed.signer_info
            identifier = info.attribute(oid.TRANSACTION_ID)
            text = read_text(identifier)
            if not 0 < len(text) <= MAXIMUM_TRANSACTION_ID or not (text.isascii() and text.isprintable()):
                raise Malformed("a transactionID that cannot be echoed")
            nonce = info.attribute(oid.SENDER_NONCE)
            if identifier is None or nonce is None or not 0 < len(nonce.octets()) <= MAXIMUM_NONCE:
                raise Malformed("a senderNonce that is missing or too long")
            if not any(name == oid.MESSAGE_TYPE for name, _ in info.attributes):
                raise Malformed("no messageType")
        except ScepError as error:
            raise Refused(error.reason, 400) from error
        return cls(signed, text, identifier.tag & ~der.CONSTRUCTED, nonce.octets(), _message_type(info))

    @property
    def message_type(self) -> MessageType:
        """What is asked for: by the exact texts of RFC 8894 alone (MSG-01, AC-026).

        Raises:
            ScepError: badRequest; it is another, or stands twice.
        """
        found = REQUESTS.get(self.message_type_text) if self.message_type_text is not None else None
        if found is None:
            raise ScepError("a messageType that is not served")
        return found

    def verify(self, floor: Floor) -> tuple[Certificate, Digest]:
        """The certificate in the message whose key made its signature, and the digest used.

        Raises:
            ScepError: badMessageCheck or badAlg.
        """
        return self.signed_data.verify(floor)

    def open(self, keyring: Keyring, floor: Floor, digest: Digest) -> Opened:
        """The content, opened by the RA key that it is encrypted to (CMS-21).

        Args:
            keyring: every live generation.
            floor: content ciphers and key transports that are accepted, checked before the key is used.
            digest: what :meth:`verify` returned; it becomes part of the algorithms to mirror (CMS-46).

        Raises:
            ScepError: badAlg for a visible algorithm, badRequest where no recipient is ours.
        """
        envelope = read_envelope(self.signed_data)
        position, generation = keyring.generation_for(recipient.name for recipient in envelope.recipients)
        recipient = envelope.recipients[position]
        envelope.check(floor, recipient)
        try:
            content = envelope.open(generation.encryption.key, recipient)
        except ScepError:
            content = b""
        algorithms = Algorithms(digest, envelope.cipher, recipient.transport or KeyTransport.RSA_V15)
        return Opened(content, generation, algorithms)


def read_envelope(signed: cms.SignedData) -> EnvelopedData:
    """The pkcsPKIEnvelope, under either eContentType that is seen (CMS-03, PEER-04); a bare CSR is none (CMS-29)."""
    if signed.content is None or signed.content_type not in (oid.DATA, oid.ENVELOPED_DATA):
        raise ScepError("a message without an envelope")
    return EnvelopedData.parse(signed.content)


def read_text(node: der.Node | None) -> str:
    """A text attribute's value in any of the types seen (CMS-09).

    Raises:
        Malformed: it is absent or of another type.
    """
    if node is None:
        raise Malformed("a required attribute is missing")
    tag = node.tag & ~der.CONSTRUCTED
    if tag not in _TEXT_TAGS:
        raise Malformed("a text attribute of another type")
    return node.octets(tag).decode("latin-1")


def read_number(node: der.Node | None) -> str:
    """As :func:`_text`, for the attributes that are numbers: an INTEGER is its decimal text (CMS-09)."""
    if node is not None and node.tag == der.INTEGER and len(node.content) <= 4:
        return str(node.integer())
    return read_text(node)


def _message_type(info: cms.SignerInfo) -> str | None:
    try:
        return read_number(info.attribute(oid.MESSAGE_TYPE))
    except ScepError:
        return None


def _attributes(message_type: MessageType, transaction_id: str, tag: int = der.UTF8_STRING) -> list[bytes]:
    """The attributes of every message.

    The transactionID is a PrintableString, whatever type it came in, for that is what every peer reads (CMS-42); with
    characters that no PrintableString has, it is of the string type *tag*: who sent such a one reads it again.
    """
    if _PRINTABLE.fullmatch(transaction_id):
        tag = der.PRINTABLE_STRING
    return [
        cms.attribute(oid.MESSAGE_TYPE, der.printable_string(message_type.value)),
        cms.attribute(oid.TRANSACTION_ID, der.tlv(tag, transaction_id.encode("utf-8"))),
    ]


def new_nonce() -> bytes:
    """A fresh senderNonce of 16 octets."""
    return os.urandom(NONCE)


def build_request(
    message_type: MessageType,
    transaction_id: str,
    sender_nonce: bytes,
    content: bytes,
    signer: Identity,
    recipient: Certificate,
    algorithms: Algorithms,
    *,
    password: bytes | None = None,
) -> bytes:
    """Write a request in the client's role (RFC 8894, 3.3; RA-14: the signer's certificate alone goes along).

    Args:
        content: a CSR, an IssuerAndSubject or an IssuerAndSerialNumber, encoded.
        recipient: the CA's or RA's encryption certificate.
        password: the challenge password, for a recipient whose key cannot decrypt (RA-19).

    Raises:
        ScepError: badAlg, the recipient's key cannot encrypt and there is no password.
    """
    if recipient.public_key.encrypts or password is None:
        envelope = seal(content, recipient, algorithms.cipher, algorithms.key_transport)
    else:
        envelope = seal_with_password(content, password, algorithms.cipher)
    attributes = _attributes(message_type, transaction_id)
    attributes.append(cms.attribute(oid.SENDER_NONCE, der.octet_string(sender_nonce)))
    return cms.sign(envelope, attributes, signer, algorithms.digest, [signer.certificate])


def seal_answer(payload: bytes, recipient: Certificate, algorithms: Algorithms, password: str | None = None) -> bytes:
    """A SUCCESS payload, encrypted to the verified signer of the request (CMS-47), or under its challenge (CMS-28).

    Raises:
        ScepError: badRequest; the signer's key cannot decrypt and there is no challenge.
    """
    if recipient.public_key.encrypts:
        return seal(payload, recipient, algorithms.cipher, algorithms.key_transport)
    if not password:
        raise ScepError("the client's key cannot decrypt, and there is no challenge to encrypt with")
    return seal_with_password(payload, password.encode("utf-8"), algorithms.cipher)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a CertRep says: SUCCESS has an ``envelope``, FAILURE a ``fail_info`` and perhaps a ``fail_info_text``."""

    status: PKIStatus
    envelope: bytes | None = None
    fail_info: FailInfo | None = None
    fail_info_text: str | None = None


def build_cert_rep(
    request: PKIMessage, answer: Answer, signer: Identity, digest: Digest, *, empty_content: bool = True
) -> bytes:
    """Write a CertRep that answers *request* (RFC 8894, 3.3.2; CMS-42 to CMS-45, PEER-01, PEER-02).

    Args:
        signer: the RA's signing identity of the generation that the client used; its certificate goes along.
        digest: mirrored from the request.
        empty_content: PENDING and FAILURE carry an eContent that is present and empty; False leaves it out.
    """
    attributes = _attributes(MessageType.CERT_REP, request.transaction_id, request.transaction_id_tag)
    attributes += (
        cms.attribute(oid.PKI_STATUS, der.printable_string(answer.status.value)),
        cms.attribute(oid.SENDER_NONCE, der.octet_string(new_nonce())),
        cms.attribute(oid.RECIPIENT_NONCE, der.octet_string(request.sender_nonce)),
    )
    if answer.fail_info is not None:
        attributes.append(cms.attribute(oid.FAIL_INFO, der.printable_string(str(int(answer.fail_info)))))
    if answer.fail_info_text is not None:
        text = answer.fail_info_text[:256].encode("utf-8")
        attributes.append(cms.attribute(oid.FAIL_INFO_TEXT, der.tlv(der.UTF8_STRING, text)))
    content = answer.envelope if answer.envelope is not None else b"" if empty_content else None
    return cms.sign(content, attributes, signer, digest, [signer.certificate])


def issuer_and_subject(issuer_der: bytes, subject_der: bytes) -> bytes:
    """The content of a CertPoll (RFC 8894, 3.3.3)."""
    return der.sequence(issuer_der, subject_der)


def issuer_and_serial(certificate: Certificate) -> bytes:
    """The content of a GetCert or GetCRL (RFC 8894, 3.3.4, 3.3.5)."""
    return der.sequence(certificate.issuer_der, certificate.serial_der)


def parse_issuer_and_subject(content: bytes) -> tuple[bytes, bytes]:
    """Issuer and subject of a CertPoll, as encodings.

    Raises:
        Malformed: it is none.
    """
    parts = der.parse(content).sequence(2)
    return parts[0].expect(der.SEQUENCE).raw, parts[1].expect(der.SEQUENCE).raw


def parse_issuer_and_serial(content: bytes) -> tuple[bytes, int]:
    """Issuer (encoded) and serial number of a GetCert or GetCRL; the drafts' longer form too (MSG-51).

    Raises:
        Malformed: it is none.
    """
    parts = der.parse(content).sequence(1)
    if parts[0].tag == der.SEQUENCE and len(parts) > 1 and parts[1].tag != der.INTEGER:
        parts = parts[0].sequence(2)
    if len(parts) < 2:
        raise Malformed("no issuer and serial number")
    return parts[0].expect(der.SEQUENCE).raw, parts[1].integer()
