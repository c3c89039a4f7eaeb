"""The SCEP face of the lab's CA, spoken to by the lab's client: both roles of the protocol, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509
from treq.testing import StubTreq

from scepra.errors import FailInfo, Refused, ScepError
from scepra.lab import (
    PERMISSIVE,
    Authority,
    Behaviour,
    CertificationService,
    Client,
    Faces,
    Payload,
    build_csr,
    new_key,
)
from scepra.lab.key import PrivateKey
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, KeyTransport
from scepra.scep.certificate import Certificate
from scepra.scep.certification import self_signed
from scepra.scep.cms import parse_degenerate
from scepra.scep.csr import CertificationRequest
from scepra.scep.envelope import EnvelopedData
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, PKIMessage, PKIStatus
from scepra.scep.transport import OperationKind

from .conftest import CHALLENGE, NOW, URL, run

Connect = Callable[..., Client]


def http(service: CertificationService, method: str, query: str, body: bytes = b"") -> tuple[int, str, bytes]:
    """Status, content type and body of one request."""
    stub = StubTreq(service)

    async def exchange() -> tuple[int, str, bytes]:
        response = await stub.request(method, f"{URL}?{query}", data=body or None)
        return response.code, response.headers.getRawHeaders("content-type", [""])[0], await stub.content(response)

    return run(exchange())


@pytest.mark.proves("HTTP-01", "HTTP-02", "P10-01", "MSG-20")
@pytest.mark.parametrize("transport", ["get", "post"])
def test_enrolment(transport: str, connect: Connect, service: CertificationService, keys: list[PrivateKey]) -> None:
    """A request by GET or POST arrives byte for byte, signed by the key that it is for, and is granted."""
    csr = build_csr(keys[1], "dev1", names=["dev1.example.org"], challenge=CHALLENGE)
    result = run(connect(transport=transport).enrol(csr=csr, key=keys[1], challenge=CHALLENGE))
    assert result.status is PKIStatus.SUCCESS
    assert result.certificate is not None
    assert service.authority.has_issued(result.certificate)
    received = service.received[-1]
    assert received.method == transport.upper()
    assert received.csr is not None and received.csr.der == csr
    assert received.signer is not None and received.signer.public_key.same_key(received.csr.public_key)
    assert received.signer.is_self_signed and received.signer.subject_der == received.csr.subject.der
    assert (received.message_type, received.status) == (MessageType.PKCS_REQ, PKIStatus.SUCCESS)
    assert (received.transaction_id, received.challenge) == (result.transaction_id, CHALLENGE)


def test_received_is_told_in_one_line_without_secrets(client: Client, service: CertificationService) -> None:
    """What came in is told by type, subject, method and outcome; the challenge is not."""
    run(client.enrol("dev1", challenge="wr0ng", key="EC-P-256"))
    assert str(service.received[-1]) == "PKCS_REQ CN=dev1 by POST: FAILURE, the challenge is missing or wrong"
    assert str(service.received[0]) == "unknown by GET: unanswered"
    assert (
        service.received[0].transaction_id is service.received[0].challenge is service.received[0].message_type is None
    )


@pytest.mark.parametrize("challenge", [None, "", "wr0ng", CHALLENGE + " "])
def test_wrong_challenge_is_refused(challenge: str | None, client: Client, service: CertificationService) -> None:
    """Whoever does not know the challenge gets badRequest, and nothing is issued."""
    before = len(service.authority.issued)
    result = run(client.enrol("dev1", challenge=challenge))
    assert (result.status, result.fail_info, result.certificate) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST, None)
    assert len(service.authority.issued) == before
    with pytest.raises(ValueError, match="nothing was issued"):
        result.identity  # noqa: B018 - reading it is the test


def test_no_challenge_is_asked_for_where_there_is_none(authority: Authority) -> None:
    """A CA without a challenge certifies anyone."""
    client = Client(URL, StubTreq(CertificationService(authority)), clock=lambda: NOW)
    assert run(client.enrol("dev1")).status is PKIStatus.SUCCESS


@pytest.mark.proves("CMS-28")
@pytest.mark.parametrize("kind", ["EC-P-256", "EC-P-384"])
def test_client_whose_key_cannot_decrypt(kind: str, client: Client, service: CertificationService) -> None:
    """A client with an EC key is answered under its challenge, at once and after it was pending."""
    result = run(client.enrol("dev1", key=kind, challenge=CHALLENGE))
    assert result.certificate is not None
    service.behaviour = Behaviour(status=PKIStatus.PENDING)
    pending = run(client.enrol("dev2", key=kind, challenge=CHALLENGE))
    service.approve(pending.transaction_id)
    assert run(client.poll(pending)).certificate is not None


@pytest.mark.proves("CMS-28")
def test_client_whose_key_cannot_decrypt_and_without_challenge(connect: Connect, service: CertificationService) -> None:
    """A client with an EC key and without a challenge cannot be answered with SUCCESS: it gets badRequest."""
    service.challenge = None
    result = run(connect().enrol("dev1", key="EC-P-256"))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)


@pytest.mark.proves("CMS-27")
@pytest.mark.parametrize("key", ["RSA-2048", "EC-P-256"])
def test_ca_whose_key_cannot_decrypt(key: str) -> None:
    """A CA with an EC key is sent its requests under the challenge, and opens them with it."""
    service = CertificationService(Authority.create(key=new_key("EC-P-384"), clock=lambda: NOW), CHALLENGE)
    client = Client(URL, StubTreq(service), clock=lambda: NOW)
    assert run(client.enrol("dev1", key=key, challenge=CHALLENGE)).certificate is not None
    with pytest.raises(ScepError):
        run(client.enrol("dev1", key=key))
    refused = run(client.enrol("dev1", key=key, challenge="wr0ng"))
    assert (refused.status, refused.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)


@pytest.mark.proves("CERT-11")
@pytest.mark.parametrize(("faces", "count"), [(Faces.CA, 1), (Faces.RA, 2), (Faces.SPLIT, 3)])
def test_recipient_is_chosen_by_key_usage(
    faces: Faces, count: int, connect: Connect, service: CertificationService
) -> None:
    """A CA alone, one RA certificate for both uses and two for one each are each encrypted to and verified rightly."""
    service.behaviour = Behaviour(faces=faces)
    client = connect(ca_fingerprint=service.authority.certificate.fingerprint())
    found = run(client.discover())
    assert len(found.certificates) == count
    assert found.encryption == service.generation.encryption.certificate
    assert found.issuer == service.authority.certificate
    assert run(client.enrol("dev1", challenge=CHALLENGE)).certificate is not None


@pytest.mark.parametrize("digest", [Digest.SHA1, Digest.SHA256, Digest.SHA512])
@pytest.mark.parametrize("cipher", ContentCipher)
@pytest.mark.parametrize("transport", [KeyTransport.RSA_V15, KeyTransport.OAEP_SHA1, KeyTransport.OAEP_SHA256])
def test_algorithms_are_mirrored_unless_told_otherwise(
    digest: Digest,
    cipher: ContentCipher,
    transport: KeyTransport,
    connect: Connect,
    service: CertificationService,
    keys: list[PrivateKey],
) -> None:
    """Every algorithm is understood both ways; an answer uses the request's, or those that it is told to use."""
    chosen = Algorithms(digest, cipher, transport)
    service.behaviour = Behaviour(floor=PERMISSIVE)
    assert run(connect(algorithms=chosen).enrol("dev1", key=keys[1], challenge=CHALLENGE)).certificate is not None
    assert service.received[-1].algorithms == chosen
    service.behaviour = Behaviour(algorithms=chosen)
    assert run(connect().enrol("dev2", key=keys[1], challenge=CHALLENGE)).certificate is not None
    assert service.received[-1].algorithms == Algorithms()


@pytest.mark.proves("CMS-24")
def test_algorithm_below_the_floor_is_refused(connect: Connect, service: CertificationService) -> None:
    """A modern CA answers a request in single DES with badAlg."""
    result = run(connect(algorithms=Algorithms(cipher=ContentCipher.DES_CBC)).enrol("dev1", challenge=CHALLENGE))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_ALG)


@pytest.mark.proves("MSG-40", "MSG-42")
@pytest.mark.parametrize("approved", [True, False])
def test_poll(approved: bool, client: Client, service: CertificationService) -> None:
    """What is pending stays so until it is decided, and a poll by another certificate over the same key learns it."""
    service.behaviour = Behaviour(status=PKIStatus.PENDING)
    pending = run(client.enrol("dev1", challenge=CHALLENGE))
    assert (pending.status, pending.certificate) == (PKIStatus.PENDING, None)
    assert run(client.poll(pending)).status is PKIStatus.PENDING
    if approved:
        issued = service.approve(pending.transaction_id)
    else:
        service.deny(pending.transaction_id)
    key = SoftwareKey(pending.key)
    subject = CertificationRequest.parse(pending.csr).subject.der
    later = replace(pending, signer=Identity(self_signed(key, subject, NOW), key))
    assert later.signer.certificate != pending.signer.certificate
    result = run(client.poll(later))
    assert service.received[-1].message_type is MessageType.CERT_POLL
    if approved:
        assert (result.status, result.certificate) == (PKIStatus.SUCCESS, issued)
    else:
        assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)


@pytest.mark.proves("MSG-40")
@pytest.mark.parametrize("stranger", [True, False])
def test_poll_for_what_is_not_ones_own(
    stranger: bool, client: Client, service: CertificationService, keys: list[PrivateKey]
) -> None:
    """A poll for an unknown transaction, or by another key than its requester's, is refused with badCertId."""
    service.behaviour = Behaviour(status=PKIStatus.PENDING)
    pending = run(client.enrol("dev1", challenge=CHALLENGE, key=keys[1]))
    other = SoftwareKey(keys[2])
    subject = CertificationRequest.parse(pending.csr).subject.der
    asked = (
        replace(pending, signer=Identity(self_signed(other, subject, NOW), other))
        if stranger
        else replace(pending, transaction_id="unknown")
    )
    result = run(client.poll(asked))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_CERT_ID)


@pytest.mark.proves("MSG-25", "PEER-05")
def test_same_request_again_is_the_same_transaction(client: Client, keys: list[PrivateKey]) -> None:
    """A request that is sent again gets the same certificate; another one under the same transactionID gets its own."""
    csr = build_csr(keys[1], "dev1", challenge=CHALLENGE)
    first, again = (run(client.enrol(csr=csr, key=keys[1], challenge=CHALLENGE)) for _ in range(2))
    assert first.certificate == again.certificate
    other = run(client.enrol("dev2", key=keys[1], challenge=CHALLENGE, transaction_id=first.transaction_id))
    assert other.certificate is not None
    assert str(other.certificate.subject) == "CN=dev2"


@pytest.mark.proves("MSG-30", "PEER-06")
@pytest.mark.parametrize("message_type", [MessageType.RENEWAL_REQ, MessageType.PKCS_REQ])
@pytest.mark.parametrize("same_key", [True, False])
def test_renewal(message_type: MessageType, same_key: bool, client: Client, service: CertificationService) -> None:
    """A certificate authorises its successor without a challenge, by either message type, with a new key or the old."""
    old = run(client.enrol("dev1", challenge=CHALLENGE))
    new = run(
        client.renew(
            old, key=old.key if same_key else "RSA-2048", names=["dev1.example.org"], message_type=message_type
        )
    )
    assert new.certificate is not None and old.certificate is not None
    assert new.certificate.public_key.same_key(old.certificate.public_key) is same_key
    received = service.received[-1]
    assert (received.message_type, received.signer) == (message_type, old.certificate)
    assert received.challenge is None


@pytest.mark.proves("MSG-33")
def test_renewal_signed_by_a_self_signed_certificate(client: Client) -> None:
    """A RenewalReq that no certificate of the CA signed is refused, even with the right challenge."""
    result = run(client.enrol("dev1", challenge=CHALLENGE, message_type=MessageType.RENEWAL_REQ))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)


@pytest.mark.proves("MSG-23")
def test_request_signed_by_a_certificate_of_another_ca(client: Client, keys: list[PrivateKey]) -> None:
    """A certificate of another CA authorises nothing, and the challenge beside it does not help."""
    foreign = Authority.create("Another CA", keys[2], clock=lambda: NOW).issue_ra("RA", key=keys[1])
    result = run(client.enrol("dev1", challenge=CHALLENGE, signer=foreign))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)


def test_request_signed_by_an_ra(client: Client, service: CertificationService, keys: list[PrivateKey]) -> None:
    """An RA with a certificate of the CA needs no challenge, and one without speaks for other keys if it knows it."""
    registered = service.authority.issue_ra("RA", key=keys[1])
    assert run(client.enrol("dev1", signer=registered)).certificate is not None
    key = SoftwareKey(keys[2])
    ephemeral = Identity(self_signed(key, registered.certificate.subject_der, NOW), key)
    assert run(client.enrol("dev2", challenge=CHALLENGE, signer=ephemeral)).certificate is not None


def test_certificate_is_fetched(client: Client, keys: list[PrivateKey]) -> None:
    """GetCert brings a certificate by its issuer and serial number, and badCertId for one that was never issued."""
    enrolled = run(client.enrol("dev1", challenge=CHALLENGE))
    assert enrolled.certificate is not None
    fetched = run(client.get_cert(enrolled.identity, enrolled.certificate))
    assert fetched.certificates == (enrolled.certificate.der,)
    unknown = enrolled.signer.certificate
    assert run(client.get_cert(enrolled.identity, unknown)).fail_info is FailInfo.BAD_CERT_ID


@pytest.mark.proves("CMS-49")
def test_crl_is_fetched(client: Client, service: CertificationService, keys: list[PrivateKey]) -> None:
    """GetCRL brings the CA's CRL and no certificate."""
    enrolled = run(client.enrol("dev1", challenge=CHALLENGE))
    assert enrolled.certificate is not None
    fetched = run(client.get_crl(enrolled.identity, enrolled.certificate))
    assert (fetched.status, fetched.certificates, len(fetched.crls)) == (PKIStatus.SUCCESS, (), 1)
    assert x509.load_der_x509_crl(fetched.crls[0]).is_signature_valid(keys[0].public_key())


@pytest.mark.parametrize("fail_info", FailInfo)
@pytest.mark.parametrize("empty_content", [True, False])
def test_failure_by_order(
    fail_info: FailInfo, empty_content: bool, client: Client, service: CertificationService
) -> None:
    """A CA told to refuse does so with that failInfo and text, with empty content or none, and issues nothing."""
    service.behaviour = Behaviour(
        status=PKIStatus.FAILURE, fail_info=fail_info, fail_info_text="no", empty_content=empty_content
    )
    result = run(client.enrol("dev1", challenge=CHALLENGE))
    assert (result.status, result.fail_info, result.fail_info_text) == (PKIStatus.FAILURE, fail_info, "no")
    assert service.transactions[result.transaction_id].certificate is None


@pytest.mark.proves("MSG-61", "MSG-62")
@pytest.mark.parametrize("payload", [Payload.LEAF, Payload.LEAF_THEN_CA, Payload.CA_THEN_LEAF])
def test_issued_certificate_is_chosen_by_its_key(
    payload: Payload, client: Client, service: CertificationService
) -> None:
    """Whatever stands beside it and in whatever order, the certificate is the one for the request's key."""
    service.behaviour = Behaviour(payload=payload)
    result = run(client.enrol("dev1", challenge=CHALLENGE))
    assert result.certificate is not None
    assert not result.certificate.is_ca
    assert len(result.certificates) == (1 if payload is Payload.LEAF else 2)


@pytest.mark.proves("MSG-61")
def test_success_without_a_certificate(client: Client, service: CertificationService) -> None:
    """A SUCCESS that brings nothing is an error."""
    service.behaviour = Behaviour(payload=Payload.NOTHING)
    with pytest.raises(ScepError):
        run(client.enrol("dev1", challenge=CHALLENGE))


@pytest.mark.parametrize(
    ("behaviour", "shown", "content_type"),
    [
        (Behaviour(), 1, "application/x-x509-ca-cert"),
        (Behaviour(faces=Faces.RA), 2, "application/x-x509-ca-ra-cert"),
        (Behaviour(faces=Faces.SPLIT), 3, "application/x-x509-ca-ra-cert"),
    ],
)
def test_ca_certificates(behaviour: Behaviour, shown: int, content_type: str, service: CertificationService) -> None:
    """GetCACert brings one certificate bare, several in a message, recipient first; GetCACertChain always a message."""
    service.behaviour = behaviour
    status, kind, body = http(service, "GET", "operation=GetCACert&message=anything")
    assert (status, kind) == (200, content_type)
    assert service.received[-1].ca_identifier == "anything"
    found = (body,) if shown == 1 else parse_degenerate(body).certificates
    assert len(found) == shown
    assert Certificate.parse(found[0]) == service.generation.encryption.certificate
    status, kind, body = http(service, "GET", "operation=GetCACertChain")
    assert (status, kind) == (200, "application/x-x509-ca-ra-cert-chain")
    assert parse_degenerate(body).certificates == (service.authority.certificate.der,)


def test_capabilities_are_true_unless_told_otherwise(service: CertificationService) -> None:
    """GetCACaps lists what the behaviour serves, or exactly the octets that it says."""
    status, kind, body = http(service, "GET", "operation=GetCACaps")
    assert (status, kind) == (200, "text/plain")
    assert {b"AES", b"POSTPKIOperation", b"Renewal", b"SCEPStandard"} <= set(body.split())
    service.behaviour = Behaviour(post=False)
    assert b"POSTPKIOperation" not in http(service, "GET", "operation=GetCACaps")[2]
    service.behaviour = Behaviour(capabilities=b"<html>")
    assert http(service, "GET", "operation=GetCACaps")[2] == b"<html>"


@pytest.mark.parametrize(
    ("behaviour", "served", "refused"), [(Behaviour(post=False), "get", "post"), (Behaviour(get=False), "post", "get")]
)
def test_transport_that_is_switched_off(
    behaviour: Behaviour, served: str, refused: str, connect: Connect, service: CertificationService
) -> None:
    """A CA without POST, or without GET, answers 405 to it, and a client that heeds its capabilities uses the other."""
    service.behaviour = behaviour
    for transport in ("auto", served):
        assert run(connect(transport=transport).enrol("dev1", challenge=CHALLENGE)).certificate is not None
        assert service.received[-1].method == served.upper()
    with pytest.raises(Refused) as refusal:
        run(connect(transport=refused).enrol("dev1", challenge=CHALLENGE))
    assert refusal.value.status == 405


@pytest.mark.parametrize(
    ("method", "query", "body", "status"),
    [
        ("GET", "", b"", 400),
        ("GET", "operation=Unknown", b"", 400),
        ("GET", "operation=PKIOperation&message=!", b"", 400),
        ("POST", "operation=PKIOperation", b"no message", 400),
        ("POST", "operation=PKIOperation", b"\x30\x03\x02\x01\x00", 400),
        ("PUT", "operation=PKIOperation", b"x", 405),
        ("GET", "operation=GetNextCACert", b"", 501),
    ],
)
def test_what_no_cert_rep_can_answer(
    method: str, query: str, body: bytes, status: int, service: CertificationService
) -> None:
    """What is no request of SCEP gets a bare status."""
    assert http(service, method, query, body)[::2] == (status, b"")


def test_unreadable_requests_are_answered(
    client: Client, service: CertificationService, keys: list[PrivateKey]
) -> None:
    """A message that can be answered is, whatever is in it."""
    result = run(client.enrol(csr=build_csr(keys[1], "x", challenge=CHALLENGE)[:-1] + b"\0", key=keys[1]))
    assert (result.status, result.fail_info) == (PKIStatus.FAILURE, FailInfo.BAD_REQUEST)
    refusal = service.received[-1].refusal
    assert refusal is not None and "signature" in refusal


def test_recorded_message_can_be_read_again(client: Client, service: CertificationService) -> None:
    """The message that was received is kept as it came: its envelope has one recipient, and its bag one certificate."""
    run(client.enrol("dev1", challenge=CHALLENGE))
    received = service.received[-1]
    message = PKIMessage.parse(received.message)
    assert message.transaction_id == received.transaction_id
    assert len(message.signed_data.certificates) == 1
    assert len(EnvelopedData.parse(message.signed_data.content or b"").recipients) == 1
    assert received.kind is OperationKind.PKI_OPERATION
