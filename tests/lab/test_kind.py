"""What the lab's kinds of CA do in their own way, octet by octet where it matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
from cryptography import x509
from treq.testing import StubTreq

from scepra.config.kind import KindName
from scepra.errors import FailInfo, Malformed, Refused
from scepra.lab import BEHAVIOURS, Authority, CertificationService, Client, Enrolment
from scepra.lab.answer import seal
from scepra.lab.key import PrivateKey
from scepra.scep import der, oid
from scepra.scep.algorithm import Algorithms, ContentCipher, Digest, KeyTransport
from scepra.scep.certification import name, self_signed
from scepra.scep.cms import SignedData, sign
from scepra.scep.envelope import EnvelopedData
from scepra.scep.identity import Identity, SoftwareKey
from scepra.scep.message import MessageType, PKIStatus
from scepra.scep.transport import OperationKind
from tests.lab.conftest import CHALLENGE, NOW, URL, OneKey, run
from tests.web.wire import Wire

NAME = "dev1.example"
HEXADECIMAL = "0123456789ABCDEF" * 2


class Listening(OneKey):
    """A client that keeps what it was answered."""

    heard: bytes = b""

    async def _fetch(self, kind: OperationKind, message: bytes | None = None) -> bytes:
        answer = await super()._fetch(kind, message)
        if message is not None:
            self.heard = answer
        return answer


@pytest.fixture
def at(authority: Authority, keys: list[PrivateKey]) -> Callable[..., tuple[CertificationService, Listening]]:
    """A CA of a kind, and a client of it."""

    def make(kind: KindName, **settings: Any) -> tuple[CertificationService, Listening]:
        service = CertificationService(authority, CHALLENGE, BEHAVIOURS[kind])
        client = Listening(URL, StubTreq(service), clock=lambda: NOW, **settings)
        client.key = keys[1]
        return service, client

    return make


At = Callable[..., tuple[CertificationService, Listening]]


def answer(service: CertificationService, target: str, **settings: Any) -> Any:
    """The answer to a GET, or with *data* to a POST."""

    async def ask() -> Any:
        http = StubTreq(service)
        send = http.post if "data" in settings else http.get
        return await send(f"{URL}{target}", **settings)

    return run(ask())


def body(response: Any) -> bytes:
    """The body of an answer."""

    async def read() -> bytes:
        content: bytes = await response.content()
        return content

    return run(read())


def enrol(client: Client, **settings: Any) -> Enrolment:
    return run(client.enrol(NAME, **{"challenge": CHALLENGE, "transaction_id": HEXADECIMAL, **settings}))


def test_every_kind_is_imitated() -> None:
    """There is a behaviour for each kind that the configuration knows."""
    assert tuple(BEHAVIOURS) == get_args(KindName)


@pytest.mark.proves("HTTP-29", "UP-01", "CAPS-10")
@pytest.mark.parametrize("kind", ["ndes", "ndes-2012", "ndes-2008"])
def test_iis(at: At, kind: KindName) -> None:
    """A bare GET gets a page, a long query is not found, a body in chunks is refused, and the server says its name."""
    service, _ = at(kind)
    page = answer(service, "")
    assert (page.code, page.headers.getRawHeaders("content-type")) == (200, ["text/html"])
    assert page.headers.getRawHeaders("server")[0].startswith("Microsoft-IIS/")
    longest = service.behaviour.manner.longest_query
    assert longest == (2048 if kind == "ndes" else 16384)
    if kind == "ndes":
        assert answer(service, "?operation=PKIOperation&message=" + "A" * longest).code == 404
    head = b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: ca.example\r\nTransfer-Encoding: chunked\r\n\r\n"
    (refused,) = Wire(service).connect().send(head + b"1\r\n0\r\n0\r\n\r\n")
    assert refused.status == 411


@pytest.mark.proves("CERT-11", "CERT-14", "UP-01")
def test_ndes_has_two_agents_and_neither_is_first(at: At) -> None:
    """GetCACert has the CA, then one certificate that decrypts and one that signs."""
    _, client = at("ndes")
    found = run(client.discover())
    assert [item.is_ca for item in found.certificates] == [True, False, False]
    assert [item.key_usage for item in found.certificates[1:]] == [{"keyEncipherment"}, {"digitalSignature"}]
    assert found.encryption == found.certificates[1]


@pytest.mark.proves("CMS-44", "MSG-08", "UP-01")
def test_ndes_says_no_as_ndes_does(at: At) -> None:
    """Its FAILURE has one octet of content, no certificate, SHA-1, a number, and no text."""
    _, client = at("ndes")
    refused = enrol(client, challenge="wrong")
    assert (refused.status, refused.fail_info, refused.fail_info_text) == (
        PKIStatus.FAILURE,
        FailInfo.BAD_REQUEST,
        None,
    )
    signed = SignedData.parse(client.heard)
    assert signed.content == b"\0"
    assert signed.certificates == ()
    assert signed.signer_info.attribute(oid.NDES_ERROR).content == b"-2147024809"
    assert der.oid(oid.SHA1) in client.heard


@pytest.mark.proves("UP-01", "RA-16")
def test_ndes_gives_the_old_certificate_again(at: At) -> None:
    """The same key under the same transactionID gets what it had, whatever it asks for."""
    _, client = at("ndes")
    first = enrol(client)
    again = run(client.enrol("another.example", challenge=CHALLENGE, transaction_id=HEXADECIMAL))
    assert again.certificate == first.certificate
    other = run(client.enrol("another.example", challenge=CHALLENGE, transaction_id=HEXADECIMAL[::-1]))
    assert other.certificate != first.certificate


@pytest.mark.proves("CAPS-10", "RA-15", "UP-01")
@pytest.mark.parametrize("kind", ["ndes", "ndes-2012", "cisco-ios"])
def test_renewal_of_old(at: At, kind: KindName, keys: list[PrivateKey]) -> None:
    """A PKCSReq by the old certificate renews it; a RenewalReq does not, nor does another subject."""
    service, client = at(kind, transport="get" if kind != "ndes" else "post")
    service.behaviour = replace(service.behaviour, status=PKIStatus.SUCCESS)
    old = enrol(client)
    renewed = run(client.renew(old, key=keys[2], message_type=MessageType.PKCS_REQ))
    assert renewed.status is PKIStatus.SUCCESS
    assert run(client.renew(old, key=keys[2])).status is PKIStatus.FAILURE
    other = run(client.enrol("other.example", key=keys[2], signer=old.identity))
    assert other.status is PKIStatus.FAILURE


@pytest.mark.proves("RA-30", "UP-07")
def test_renewal_with_a_challenge(at: At, keys: list[PrivateKey]) -> None:
    """step-ca wants the challenge of a renewal too."""
    _, client = at("step-ca")
    old = enrol(client)
    assert run(client.renew(old, key=keys[2])).status is PKIStatus.FAILURE
    assert run(client.renew(old, key=keys[2], challenge=CHALLENGE)).status is PKIStatus.SUCCESS


@pytest.mark.proves("RA-30")
@pytest.mark.parametrize("kind", ["ndes-2008", "ejbca", "dogtag", "openca"])
def test_no_renewal(at: At, kind: KindName, keys: list[PrivateKey]) -> None:
    """Where a kind renews nothing, a certificate of its own is no substitute for the challenge."""
    _, client = at(kind)
    old = enrol(client)
    try:
        assert run(client.renew(old, key=keys[2], message_type=MessageType.PKCS_REQ)).status is PKIStatus.FAILURE
    except Refused as refused:
        assert (kind, refused.status) == ("ejbca", 400)


@pytest.mark.proves("CMS-23", "UP-03")
def test_ndes_2012_answers_aes_in_oaep_and_post_with_nothing(at: At) -> None:
    """What was asked in AES comes back in OAEP, and what was asked in 3DES does not; POST gets nothing."""
    used = {}
    for cipher in (ContentCipher.AES128_CBC, ContentCipher.DES_EDE3_CBC):
        _, client = at("ndes-2012", transport="get", algorithms=Algorithms(cipher=cipher))
        assert enrol(client).status is PKIStatus.SUCCESS
        (recipient,) = EnvelopedData.parse(SignedData.parse(client.heard).content).recipients
        used[cipher] = recipient.transport
    assert used == {
        ContentCipher.AES128_CBC: KeyTransport.OAEP_SHA1,
        ContentCipher.DES_EDE3_CBC: KeyTransport.RSA_V15,
    }
    service, client = at("ndes-2012", transport="post")
    with pytest.raises(Malformed, match="cut short"):
        enrol(client)
    assert service.received[-1].method == "POST"


@pytest.mark.proves("UP-02", "UP-07")
@pytest.mark.parametrize("kind", ["ndes-2008", "step-ca", "micromdm"])
def test_single_des_whatever_is_asked(at: At, kind: KindName) -> None:
    """The answer is in DES, though the request was not."""
    service, client = at(kind)
    assert enrol(client).status is PKIStatus.SUCCESS
    assert EnvelopedData.parse(SignedData.parse(client.heard).content).cipher is ContentCipher.DES_CBC
    assert service.received[-1].algorithms.cipher is not ContentCipher.DES_CBC


@pytest.mark.proves("UP-07", "MSG-07", "RA-14")
def test_step_ca(at: At, keys: list[PrivateKey]) -> None:
    """No poll, no GET, its text under an attribute of its own, the client's nonce as its own."""
    _, client = at("step-ca")
    refused = enrol(client, challenge="wrong")
    assert refused.fail_info_text == "the challenge is missing or wrong"
    info = SignedData.parse(client.heard).signer_info
    assert info.attribute(oid.FAIL_INFO_TEXT_STEP_CA) is not None
    assert info.attribute(oid.FAIL_INFO_TEXT) is None
    assert info.attribute(oid.SENDER_NONCE).raw == info.attribute(oid.RECIPIENT_NONCE).raw
    with pytest.raises(Refused, match="status 500"):
        run(client.poll(refused))
    _, by_get = at("step-ca", transport="get")
    with pytest.raises(Refused, match="status 500"):
        enrol(by_get)


@pytest.mark.proves("UP-07", "RA-14")
def test_an_answer_to_every_certificate_of_the_request(at: At, authority: Authority, keys: list[PrivateKey]) -> None:
    """Whoever brings more certificates than its own gets an envelope with as many recipients, and opens it."""
    service, client = at("step-ca")
    enrolled = enrol(client)
    received = service.received[-1]
    bag = (authority.certificate, received.signer)
    many = SignedData.parse(sign(b"", (), authority.identity, Digest.SHA256, bag))
    both = replace(received.request, signed_data=many)
    envelope = EnvelopedData.parse(seal(b"payload", received.signer, both, Algorithms(), service.behaviour, None))
    assert len(envelope.recipients) == 2
    own = SoftwareKey(enrolled.key)
    assert envelope.open(own, envelope.recipients[1]) == b"payload"


@pytest.mark.proves("MSG-62", "UP-08")
def test_xipki(at: At, keys: list[PrivateKey]) -> None:
    """It calls its content envelopedData, and wants the signer's subject to be the request's, with a common name."""
    _, client = at("xipki")
    first = enrol(client)
    assert first.status is PKIStatus.SUCCESS
    assert SignedData.parse(client.heard).content_type == oid.ENVELOPED_DATA
    own = SoftwareKey(keys[1])
    stranger = Identity(self_signed(own, name("stranger"), NOW), own)
    assert enrol(client, signer=stranger, transaction_id="A1").status is PKIStatus.FAILURE
    nameless = x509.Name.from_rfc4514_string("O=Example")
    refused = run(client.enrol(nameless, challenge=CHALLENGE, transaction_id="A2"))
    assert refused.fail_info_text == "a subject without a common name"
    _, strong = at("xipki", algorithms=Algorithms(cipher=ContentCipher.AES256_CBC))
    assert enrol(strong).fail_info is FailInfo.BAD_ALG


@pytest.mark.proves("UP-04")
def test_dogtag_has_one_certificate_at_a_time(at: At, authority: Authority) -> None:
    """GetCACert has the certificate whose number is asked for, alone; POST is refused."""
    service, client = at("dogtag")
    for target in ("?operation=GetCACert", "?operation=GetCACert&message=0", "?operation=GetCACert&message=CA"):
        assert body(answer(service, target)) == authority.certificate.der
    assert answer(service, "?operation=GetCACert&message=1").code == 404
    assert enrol(client).status is PKIStatus.SUCCESS
    assert service.received[-1].method == "GET"
    _, by_post = at("dogtag", transport="post")
    with pytest.raises(Refused, match="status 405"):
        enrol(by_post)


@pytest.mark.proves("UP-05", "RA-16", "CERT-14")
def test_openxpki(at: At) -> None:
    """One certificate comes as a SignedData too; a transactionID is a hexadecimal number; algorithms are mirrored."""
    service, client = at("openxpki", algorithms=Algorithms(Digest.SHA1, ContentCipher.DES_EDE3_CBC))
    bag = answer(service, "?operation=GetCACert")
    assert bag.headers.getRawHeaders("content-type") == ["application/x-x509-ca-ra-cert"]
    assert enrol(client, transaction_id="device 1").fail_info_text == "a transactionID that is no hexadecimal number"
    assert enrol(client).status is PKIStatus.SUCCESS
    assert EnvelopedData.parse(SignedData.parse(client.heard).content).cipher is ContentCipher.DES_EDE3_CBC


@pytest.mark.proves("UP-06", "MSG-25")
def test_ejbca_serves_an_end_entity_once(at: At) -> None:
    """A request that comes again, and a wrong challenge, get status 400 and no signed answer."""
    _, client = at("ejbca")
    enrolled = enrol(client)
    for settings in ({"csr": enrolled.csr, "key": enrolled.key}, {"challenge": "wrong", "transaction_id": "AB"}):
        with pytest.raises(Refused, match="status 400"):
            enrol(client, **settings)


@pytest.mark.proves("UP-07", "MSG-62", "CMS-20")
def test_micromdm_writes_in_pieces(at: At) -> None:
    """Its encrypted content is constructed, and its answer comes without a length."""
    service, client = at("micromdm")
    assert enrol(client).status is PKIStatus.SUCCESS
    content = SignedData.parse(client.heard).content
    assert der.parse(content).sequence()[1].only().children()[2].children()[2].tag == 0xA0
    reply = answer(service, "?operation=PKIOperation", data=service.received[-1].message)
    assert reply.headers.getRawHeaders("content-length") is None


@pytest.mark.proves("UP-09", "CERT-11")
def test_cisco_ios_makes_wait(at: At) -> None:
    """Somebody decides; until then polls are PENDING."""
    service, client = at("cisco-ios")
    waiting = enrol(client)
    assert waiting.status is PKIStatus.PENDING
    assert run(client.poll(waiting)).status is PKIStatus.PENDING
    service.approve(HEXADECIMAL)
    assert run(client.poll(waiting)).status is PKIStatus.SUCCESS
    assert "GetNextCACert" in run(client.discover()).capabilities
