"""CertRep in the client's role: verified, matched to its request, opened (RFC 8894, 3.3.2; MSG-60 to MSG-62)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from scepra.errors import FailInfo, ScepError
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Floor
from scepra.scep.certificate import Certificate
from scepra.scep.identity import RAKey
from scepra.scep.message import MessageType, PKIStatus, read_envelope, read_number, read_text
from scepra.scep.publickey import PublicKeyInfo


@dataclass(frozen=True, slots=True)
class CertRep:
    """An answer that has been verified, matched to its request and opened.

    ``certificates`` and ``crls`` are encodings, for SUCCESS only; ``fail_info_text`` is what the CA said, unsanitised;
    ``ndes_error`` the HRESULT of Microsoft's attribute (MSG-08).
    """

    status: PKIStatus
    fail_info: FailInfo | None
    fail_info_text: str | None
    ndes_error: int | None
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    signer: Certificate


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an answer must match: the request's transactionID and senderNonce, who may sign, what opens it (MSG-60).

    ``password`` opens an answer to a key that cannot decrypt (CMS-28).
    """

    transaction_id: str
    sender_nonce: bytes
    signers: Sequence[Certificate]
    key: RAKey
    floor: Floor
    password: bytes | None = None


def read_cert_rep(encoding: bytes, expected: Expectation) -> CertRep:
    """Read a CertRep in the client's role. The signature is verified before any private key is used (AC-115).

    Raises:
        ScepError: it is none, does not belong to the request, or cannot be opened.
    """
    signed = cms.SignedData.parse(encoding)
    signer, _ = signed.verify(expected.floor, expected.signers)
    info = signed.signer_info
    if read_number(info.attribute(oid.MESSAGE_TYPE)) != MessageType.CERT_REP.value:
        raise ScepError("an answer that is no CertRep")
    if read_text(info.attribute(oid.TRANSACTION_ID)) != expected.transaction_id:
        raise ScepError("an answer to another transaction")
    nonce = info.attribute(oid.RECIPIENT_NONCE)
    if nonce is None or nonce.octets() != expected.sender_nonce:
        raise ScepError("an answer to another request (recipientNonce)")
    try:
        status = PKIStatus(read_number(info.attribute(oid.PKI_STATUS)))
    except ValueError as error:
        raise ScepError("a pkiStatus that means nothing") from error
    bag = cms.Degenerate((), ())
    if status is PKIStatus.SUCCESS:
        bag = _open_answer(signed, expected)
    fail_info = _fail_info(info) if status is PKIStatus.FAILURE else None
    return CertRep(status, fail_info, _fail_info_text(info), _ndes_error(info), bag.certificates, bag.crls, signer)


def _open_answer(signed: cms.SignedData, expected: Expectation) -> cms.Degenerate:
    envelope = read_envelope(signed)
    if envelope.cipher not in expected.floor.ciphers:
        raise ScepError(f"an answer in the refused content cipher {envelope.cipher.value}", FailInfo.BAD_ALG)
    if expected.password is not None and not expected.key.public.encrypts:
        return cms.parse_degenerate(envelope.open_with_password(expected.password))
    # CAs encrypt to whatever certificate they found in the request: what opens is ours (RA-14, UP-07). Another's may
    # still unwrap to octets that decrypt to something, so reading goes on until it makes sense.
    for recipient in envelope.recipients:
        if recipient.transport in expected.floor.key_transports:
            with suppress(ScepError):
                return cms.parse_degenerate(envelope.open(expected.key, recipient))
    raise ScepError("an answer whose envelope does not open to certificates")


def _fail_info(info: cms.SignerInfo) -> FailInfo:
    """The failInfo; what is missing or unknown counts as badRequest (MSG-09)."""
    try:
        return FailInfo(int(read_number(info.attribute(oid.FAIL_INFO))))
    except (ScepError, ValueError):
        return FailInfo.BAD_REQUEST


def _fail_info_text(info: cms.SignerInfo) -> str | None:
    """failInfoText, also under the identifier that step-ca used (MSG-07)."""
    for identifier in (oid.FAIL_INFO_TEXT, oid.FAIL_INFO_TEXT_STEP_CA):
        try:
            node = info.attribute(identifier)
            if node is not None:
                return node.octets(node.tag & ~der.CONSTRUCTED).decode("utf-8", "replace")[:256]
        except ScepError:
            continue
    return None


def _ndes_error(info: cms.SignerInfo) -> int | None:
    """NDES's HRESULT as the unsigned number that documentation uses, or None (MSG-08)."""
    try:
        node = info.attribute(oid.NDES_ERROR)
        return None if node is None else int(read_number(node)) & 0xFFFFFFFF
    except (ScepError, ValueError):
        return None


def choose_issued(certificates: Iterable[bytes], public_key: bytes) -> Certificate:
    """The one certificate of an answer whose key is the request's, wherever it stands (MSG-61).

    Args:
        certificates: encodings from a :class:`CertRep`.
        public_key: the CSR's SubjectPublicKeyInfo.

    Raises:
        ScepError: none is, or several are, or one cannot be read.
    """
    wanted = PublicKeyInfo.parse(public_key)
    distinct = map(Certificate.parse, dict.fromkeys(certificates))
    found = [item for item in distinct if item.spki == public_key or item.public_key.same_key(wanted)]
    if len(found) != 1:
        raise ScepError("an answer without exactly one certificate for the request's key")
    return found[0]
