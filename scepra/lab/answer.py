"""CertReps as products write them: as RFC 8894 says, but for a :class:`~scepra.lab.manner.Manner`."""

from __future__ import annotations

from dataclasses import replace

from scepra.lab.behaviour import Behaviour
from scepra.scep import cms, der, oid
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.identity import Identity
from scepra.scep.message import Answer, MessageType, PKIMessage, PKIStatus, new_nonce, seal_answer

_AES = (ContentCipher.AES128_CBC, ContentCipher.AES192_CBC, ContentCipher.AES256_CBC)


def answering(behaviour: Behaviour, used: Algorithms) -> Algorithms:
    """What an answer uses to a request that used something."""
    if behaviour.algorithms is not None:
        return behaviour.algorithms
    if behaviour.manner.oaep_with_aes and used.cipher in _AES:
        return replace(used, key_transport=KeyTransport.OAEP_SHA1)
    return used


def seal(
    payload: bytes,
    signer: Certificate,
    request: PKIMessage,
    algorithms: Algorithms,
    behaviour: Behaviour,
    password: str | None,
) -> bytes:
    """The envelope of a SUCCESS, to the signer or to every certificate that came along.

    Raises:
        ScepError: the signer's key cannot decrypt, and there is no password.
    """
    manner = behaviour.manner
    envelope = seal_answer(payload, signer, algorithms, password)
    if manner.every_recipient:
        envelope = _with_decoys(envelope, request, payload, signer, algorithms)
    return _constructed(envelope) if manner.constructed else envelope


def write(request: PKIMessage, answer: Answer, signer: Identity, algorithms: Algorithms, behaviour: Behaviour) -> bytes:
    """The CertRep that answers a request."""
    manner = behaviour.manner
    failed = answer.status is PKIStatus.FAILURE
    nonce = new_nonce() if manner.own_nonce else request.sender_nonce
    attributes = [
        cms.attribute(oid.MESSAGE_TYPE, der.printable_string(MessageType.CERT_REP.value)),
        cms.attribute(oid.TRANSACTION_ID, der.tlv(request.transaction_id_tag, request.transaction_id.encode("utf-8"))),
        cms.attribute(oid.PKI_STATUS, der.printable_string(answer.status.value)),
        cms.attribute(oid.SENDER_NONCE, der.octet_string(nonce)),
        cms.attribute(oid.RECIPIENT_NONCE, der.octet_string(request.sender_nonce)),
    ]
    if answer.fail_info is not None:
        attributes.append(cms.attribute(oid.FAIL_INFO, der.printable_string(str(int(answer.fail_info)))))
    if answer.fail_info_text is not None and manner.text is not None:
        text = answer.fail_info_text[:256].encode("utf-8")
        attributes.append(cms.attribute(manner.text, der.tlv(der.UTF8_STRING, text)))
    if failed and manner.hresult is not None:
        # A signed decimal number, as it was seen.
        number = str(manner.hresult - (1 << 32))
        attributes.append(cms.attribute(oid.NDES_ERROR, der.printable_string(number)))
    content = answer.envelope if answer.envelope is not None else b"" if behaviour.empty_content else None
    bare = failed and manner.bare_failures
    written = cms.sign(
        b"\0" if failed and manner.one_octet else content,
        attributes,
        signer,
        Digest.SHA1 if bare else algorithms.digest,
        () if bare else (signer.certificate,),
    )
    return (
        _enveloped(written, signer, algorithms.digest) if answer.envelope is not None and manner.enveloped else written
    )


def _with_decoys(
    envelope: bytes, request: PKIMessage, payload: bytes, signer: Certificate, algorithms: Algorithms
) -> bytes:
    """The envelope with a recipient for every other certificate before its own; theirs hold another key."""
    others = [item for item in map(Certificate.parse, request.signed_data.certificates) if item != signer]
    sealed = [_recipients(seal_answer(payload, item, algorithms)) for item in others if item.public_key.encrypts]
    body = der.parse(envelope).sequence()[1].only()
    version, _, content = body.children()
    both = der.tlv(der.SET, *sealed, _recipients(envelope))
    return der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0, der.sequence(version.raw, both, content.raw)))


def _recipients(envelope: bytes) -> bytes:
    return der.parse(envelope).sequence()[1].only().children()[1].content


def _constructed(envelope: bytes) -> bytes:
    """The envelope with its encrypted content in one OCTET STRING below a constructed [0]."""
    version, recipients, content = der.parse(envelope).sequence()[1].only().children()
    data, cipher, encrypted = content.children()
    again = der.sequence(data.raw, cipher.raw, der.tlv(0xA0, der.octet_string(encrypted.content)))
    body = der.sequence(version.raw, recipients.raw, again)
    return der.sequence(der.oid(oid.ENVELOPED_DATA), der.explicit(0, body))


def _enveloped(written: bytes, signer: Identity, digest: Digest) -> bytes:
    """The CertRep with another content type, in both places, and signed anew."""
    version, digests, encapsulated, certificates, infos = der.parse(written).sequence()[1].only().children()
    enveloped = der.oid(oid.ENVELOPED_DATA)
    info = infos.only().children()
    before = cms.attribute(oid.CONTENT_TYPE, der.oid(oid.DATA))
    after = cms.attribute(oid.CONTENT_TYPE, enveloped)
    body = b"".join(sorted(after if item.raw == before else item.raw for item in info[3].children()))
    signature = signer.key.sign(der.tlv(der.SET, body), digest)
    fields = (*(item.raw for item in info[:3]), der.tlv(0xA0, body), info[4].raw, der.octet_string(signature))
    return der.sequence(
        der.oid(oid.SIGNED_DATA),
        der.explicit(
            0,
            der.sequence(
                version.raw,
                digests.raw,
                der.sequence(enveloped, encapsulated.children()[1].raw),
                certificates.raw,
                der.tlv(der.SET, der.sequence(*fields)),
            ),
        ),
    )
